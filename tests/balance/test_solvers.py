"""The solvers against an active-set method in float64, in float32 and float64; projection and spectra against numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks._grams import factors
from benchmarks._reference import bounded, least_in_hull, least_norm, psd_factor
from mtl_jax.balance import solvers

# Objectives are of order 1 on matrices of trace 1. The last column is for CAGrad with c above 1, where the best w can
# make |J^T w| vanish: a length that all but cancels is good to the root of the rounding of its square.
DTYPES = {"float32": (np.float32, 1e-5, 3e-4), "float64": (np.float64, 1e-9, 3e-8)}
cases = pytest.mark.parametrize(("tasks", "name"), [(3, "float32"), (16, "float32"), (3, "float64")])


def solve(solver, grams: np.ndarray) -> list[np.ndarray]:
  with jax.enable_x64(grams.dtype == np.float64):
    found = jax.jit(lambda stack: jax.lax.map(lambda g: tuple(solver(g)), stack))(grams)
    assert found[0].dtype == grams.dtype
    return [np.asarray(leaf).astype(np.float64) for leaf in found]


def matrices(tasks: int, name: str, count: int = 50) -> tuple[np.ndarray, list[np.ndarray]]:
  gradients = factors(tasks, count, seed=3)
  grams = np.stack([j @ j.T for j in gradients]).astype(DTYPES[name][0])
  return grams, [psd_factor(g) if name == "float32" else j.T for g, j in zip(grams, gradients, strict=True)]


@cases
def test_least_norm_in_the_hull(tasks, name):
  grams, exact = matrices(tasks, name)
  w, residual = solve(solvers.simplex_qp, grams)
  assert (w >= 0).all()
  np.testing.assert_allclose(w.sum(axis=1), 1.0, rtol=1e-6)
  found = [np.sum((f @ x) ** 2) for f, x in zip(exact, w, strict=True)]
  best = [least_in_hull(f) for f in exact]
  assert max(b.gap for b in best) < 1e-13
  np.testing.assert_allclose(found, [b.value for b in best], atol=DTYPES[name][1])
  assert residual.max() < DTYPES[name][1]


@cases
def test_quadratic_programs_with_lower_bounds(tasks, name):
  grams, _ = matrices(tasks, name)
  grams = grams + grams.dtype.type(1e-4) * np.eye(tasks, dtype=grams.dtype)
  lower = np.vstack([np.eye(tasks), np.full((1, tasks), 1.0 / tasks)])
  v, residual = solve(lambda g: solvers.bounded_qp(g, jnp.asarray(lower, g.dtype)), grams)
  assert (v >= lower - 1e-6).all()
  for gram, found in zip(grams, v, strict=True):
    factor = psd_factor(gram)
    best = [bounded(factor, low) for low in lower]
    assert max(b.gap for b in best) < 1e-13
    np.testing.assert_allclose(np.sum((factor @ found.T) ** 2, axis=0), [b.value for b in best], atol=DTYPES[name][1])
  assert residual.max() < DTYPES[name][1]


@cases
@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_linear_function_plus_norm(tasks, name, radius):
  grams, exact = matrices(tasks, name)
  linear = np.random.default_rng(0).uniform(-1, 1, tasks)
  lengths = np.sqrt(np.diagonal(grams, axis1=1, axis2=2).astype(np.float64))
  longest = lengths.max(axis=1, keepdims=True)
  w, _, _ = solve(lambda g: solvers.simplex_norm(g, jnp.asarray(linear, g.dtype), radius), grams)
  tolerance = 2 * DTYPES[name][1] if radius < 1 else DTYPES[name][2]
  for f, q, x in zip(exact, linear * lengths / longest, w, strict=True):
    f = f / np.linalg.norm(f, axis=0).max()
    best = least_norm(f, q, radius)
    assert best.gap < 1e-10
    assert abs(q @ x + radius * np.linalg.norm(f @ x) - best.value) < tolerance


@pytest.mark.parametrize("name", DTYPES)
def test_a_linear_function_plus_norm_where_the_direction_swings(name):
  # On a line, one gradient against the others: Newton steps of one length in all unknowns go back and forth for good.
  line = np.array([-0.0708, 0.7053, 0.7053])
  linear = np.sign(line.sum()) * np.sign(line)  # the cosines with the mean
  gram = np.outer(line, line).astype(DTYPES[name][0])[None]
  w, _, residual = solve(lambda g: solvers.simplex_norm(g, jnp.asarray(linear, g.dtype), 0.5), gram)
  np.testing.assert_allclose(w, [[1.0, 0.0, 0.0]], atol=DTYPES[name][1])
  assert residual[0] < DTYPES[name][1]


@pytest.mark.parametrize("power", [2.0, 1.0, 0.5])
@pytest.mark.parametrize("name", DTYPES)
def test_barrier_equation(name, power):
  grams, _ = matrices(8, name)
  a, reported = solve(lambda g: solvers.barrier_newton(g, power), grams)
  assert (a > 0).all()
  grams = grams.astype(np.float64)
  residual = np.abs(a**power * np.einsum("nts,ns->nt", grams, a) - 1.0).max(axis=1)
  terms = (a**power * np.einsum("nts,ns->nt", np.abs(grams), a)).max(axis=1)
  rounding = np.finfo(DTYPES[name][0]).eps * terms
  assert (residual < 20 * rounding).all()
  solvable = 20 * rounding < 1e-4
  assert solvable.sum() >= 20
  assert residual[solvable].max() < 1e-4
  np.testing.assert_allclose(reported[solvable], residual[solvable], atol=1e-4)


def test_projection_on_the_simplex_is_the_nearest_point():
  rng = np.random.default_rng(0)
  points = np.concatenate([rng.normal(size=(40, 4)) * scale for scale in (0.1, 1.0, 100.0)])
  found = np.asarray(jax.vmap(solvers.project_simplex)(jnp.asarray(points, jnp.float32)), np.float64)
  faces = [list(face) for size in range(1, 5) for face in itertools.combinations(range(4), size)]
  for x, w in zip(points, found, strict=True):
    candidates = []
    for face in faces:
      candidate = np.zeros(4)
      candidate[face] = x[face] + (1.0 - x[face].sum()) / len(face)  # nearest of the face's plane
      candidates.append(candidate)
    best = min((c for c in candidates if c.min() >= 0), key=lambda c: np.sum((c - x) ** 2))
    np.testing.assert_allclose(w, best, atol=1e-5)  # x of up to 100 in float32


def test_projection_far_from_the_simplex():
  np.testing.assert_array_equal(solvers.project_simplex(jnp.array([3e30, -1e30, 3e30])), [0.5, 0.0, 0.5])


@pytest.mark.parametrize("rank", [0, 1, 3, 5])
def test_spectrum_and_pseudo_inverse(rank):
  rng = np.random.default_rng(rank)
  root = rng.normal(size=(5, rank))
  gram = (root @ root.T).astype(np.float32)
  spectral = solvers.spectrum(jnp.asarray(gram), 5)
  assert int(spectral.kept.sum()) == rank
  np.testing.assert_allclose(spectral.values, np.linalg.eigvalsh(gram.astype(np.float64)), atol=1e-5)
  x = gram @ np.ones(5, np.float32) + (1.0 if rank == 5 else 0.0)
  expected = np.linalg.pinv(root @ root.T, rcond=1e-6) @ x
  np.testing.assert_allclose(solvers.pinv_apply(jnp.asarray(gram), jnp.asarray(x, jnp.float32)), expected, atol=2e-3)
  half = solvers.apply_spectrum(spectral, jnp.sqrt, jnp.asarray(x, jnp.float32))
  values, vectors = np.linalg.eigh(root @ root.T)
  np.testing.assert_allclose(half, vectors @ (np.sqrt(np.maximum(values, 0)) * (vectors.T @ x)), atol=2e-3)
