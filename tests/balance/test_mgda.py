"""MGDA against brute force over active sets, closed form, golden values and normalisations."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from tests.balance._matrices import losses, run, well_posed


def psd(tasks: int, seed: int = 0) -> np.ndarray:
  """Random positive semidefinite matrices of trace 1 and of every rank from 1 to T, three of each."""
  rng = np.random.default_rng(seed)
  roots = [
    rng.normal(size=(tasks, rank)) @ rng.normal(size=(rank, tasks + 2)) + rng.normal(size=rank)[0] * positive
    for rank in range(1, tasks + 1)
    for positive in (0.0, 0.5, 1.0)
  ]
  grams = [r @ r.T for r in roots]
  return np.stack([g / np.trace(g) for g in grams])


def least(gram: np.ndarray) -> float:
  """min of w^T G w over the simplex: on each face the minimum is where G w is constant."""
  best = np.inf
  for size in range(1, len(gram) + 1):
    for face in map(list, itertools.combinations(range(len(gram)), size)):
      kkt = np.block([[gram[np.ix_(face, face)], -np.ones((size, 1))], [np.ones((1, size)), np.zeros((1, 1))]])
      w = np.linalg.lstsq(kkt, np.append(np.zeros(size), 1.0), rcond=None)[0][:size]
      if w.min() >= -1e-9 and abs(w.sum() - 1) < 1e-6:
        best = min(best, w @ gram[np.ix_(face, face)] @ w)
  return best


def weigh(grams: np.ndarray, balancer=None):
  balancer = mtl.balance.mgda() if balancer is None else balancer
  tasks = grams.shape[1]
  step = jax.jit(jax.vmap(lambda g: balancer.weigh(Stats(jnp.ones(tasks), g), balancer.init(tasks))))
  weights, residual = step(jnp.asarray(grams, jnp.float32))
  return np.asarray(weights, np.float64), np.asarray(residual)


@pytest.mark.parametrize("tasks", [1, 2, 3, 8])
def test_objective_is_the_least_over_the_simplex(tasks):
  grams = psd(tasks)
  weights, residual = weigh(grams)
  found = np.einsum("nt,nts,ns->n", weights, grams, weights)
  np.testing.assert_allclose(found, [least(g) for g in grams], atol=1e-5)
  assert (residual < 1e-5).all()


def test_many_tasks_satisfy_the_optimality_conditions():
  grams = psd(32)[::8]
  weights, _ = weigh(grams)
  pull = np.einsum("nts,ns->nt", grams, weights)
  # The duality gap bounds the distance from the optimum.
  assert (np.einsum("nt,nt->n", weights, pull) - pull.min(axis=1) < 1e-5).all()


def test_two_tasks_in_closed_form():
  j = well_posed(2).astype(np.float64)
  j[:8, 1] += 2 * j[:8, 0]  # some with the minimum at a corner
  grams = j @ j.transpose(0, 2, 1)
  weights, _ = weigh(grams / np.trace(grams, axis1=1, axis2=2)[:, None, None])
  a, b, c = grams[:, 0, 0], grams[:, 0, 1], grams[:, 1, 1]
  first = np.clip((c - b) / (a + c - 2 * b), 0, 1)
  np.testing.assert_allclose(weights[:, 0], first, atol=1e-3)  # the root of the solver's relative gap
  assert (first == 1).any() and ((first > 0) & (first < 1)).any()


def test_golden_matrix():
  j = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  weights, _ = weigh((j @ j.T)[None])
  np.testing.assert_allclose(weights[0], [0.6, 0.4], atol=1e-4)
  np.testing.assert_allclose(weights[0] @ j, [0.0, 1.0, 1.0], atol=1e-3)


@pytest.mark.parametrize("normalize", ["l2", "loss", "loss+"])
def test_a_normalisation_is_mgda_of_the_normalised_gradients(normalize):
  j, task_losses = well_posed(3), losses(3)
  norms = np.linalg.norm(j, axis=2)
  scale = {"l2": norms, "loss": task_losses, "loss+": task_losses * norms}[normalize]
  _, expected, _ = run("mgda", j / scale[:, :, None])
  grams = jnp.asarray(j @ j.transpose(0, 2, 1))
  weighs = [mtl.balance.mgda(normalize=normalize, apply_normalized=apply).weigh for apply in (False, True)]
  step = jax.vmap(lambda loss, g: [weigh(Stats(loss, g), jnp.zeros(()))[0] for weigh in weighs])
  plain, applied = jax.jit(step)(task_losses, grams)
  np.testing.assert_allclose(plain, expected, atol=2e-3)
  np.testing.assert_allclose(applied, expected / scale, atol=2e-3)


def test_losses_that_nobody_gave_do_not_pass_for_no_normalisation():
  balancer = mtl.balance.mgda(normalize="loss")
  weights, _ = jax.jit(balancer.weigh)(Stats(jnp.full(2, jnp.nan), jnp.eye(2)), balancer.init(2))
  assert np.isnan(weights).all()


def test_unknown_normalisation():
  with pytest.raises(mtl.UserError, match=r"mgda: unknown normalize 'los' \(did you mean 'loss'\?\): choose from none"):
    inspect.unwrap(mtl.balance.mgda)("los")  # without the tests' type checks
