"""No conflict and no scale, at the defaults and in float32, on the gradients that break solvers."""

import functools

import numpy as np
import pytest

import mtl_jax as mtl
from benchmarks._reference import bounded
from tests.balance._matrices import COLUMNS, hostile, run, well_posed
from tests.balance._weigh import products, weigh

PROMISE = ("upgrad", "dualproj", "mgda", "cagrad")  # the last with c = 1, in the table
SCALES = (1e-10, 1.0, 1e8)
# Powers of two, so that nothing but an absolute threshold can change a digit.
FACTORS = (2.0**-33, 2.0**27)
SINGULAR = np.array([[1.0, 0.0, 0.0], [-1.0, 0.5, 0.0], [0.0, 0.2, 1.0]])


@functools.cache
def matrices(tasks: int) -> np.ndarray:
  """(N, T, 11), in order of scale; N is a multiple of what `run` is compiled for."""
  rng, found, count = np.random.default_rng(300 + tasks), [], len(hostile(tasks))
  j, direction = rng.normal(size=(5, tasks, COLUMNS)), rng.normal(size=COLUMNS)
  lengths = 10.0 ** rng.uniform(-4, 4, (tasks, 1))
  found += [np.outer(rng.normal(size=tasks), direction), np.tile(direction, (tasks, 1))]
  found += [np.outer((-1.0) ** np.arange(tasks), direction), rng.normal(size=(tasks, 2)) @ j[0, :2]]
  j[0, 0], j[1, 0], j[2, 0] = 0.0, 1e6 * j[1, 0], 1e-6 * j[2, 0]
  j[3, -1] = -j[3, 0]
  found += [*j, np.abs(j[0]), lengths * j[3], lengths * (j[4] + 1.0), lengths * np.abs(j[4])]
  stack = np.concatenate([scale * np.stack(found) for scale in SCALES])
  return stack[np.arange(-(-len(stack) // count) * count) % len(stack)].astype(np.float32)


def updates(name: str, j: np.ndarray):
  """Weights and states, and in float64 the updates that the weights make."""
  parts = [run(name, part) for part in np.split(j, len(j) // len(hostile(j.shape[1])))]
  weights, states = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
  return weights, states, np.einsum("nt,ntp->np", weights.astype(np.float64), j.astype(np.float64))


def padded(*rows: np.ndarray) -> np.ndarray:
  """Matrices (T, P), in turn, as many and as wide as `run` is compiled for."""
  stack = np.stack(rows)[np.arange(len(hostile(len(rows[0])))) % len(rows)]
  return np.pad(stack, ((0, 0), (0, 0), (0, COLUMNS - stack.shape[2]))).astype(np.float32)


def cosines(j: np.ndarray, update: np.ndarray) -> np.ndarray:
  """Of each update with each gradient, 1 where a gradient or the update is 0."""
  products = np.einsum("ntp,np->nt", j.astype(np.float64), update)
  lengths = np.linalg.norm(j.astype(np.float64), axis=2) * np.linalg.norm(update, axis=1)[:, None]
  return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), 1.0)


@pytest.mark.parametrize("tasks", [2, 3, 40])
@pytest.mark.parametrize("name", PROMISE)
@pytest.mark.slow
def test_no_conflict(name, tasks):
  j = matrices(tasks)
  weights, residuals, update = updates(name, j)
  summed = np.einsum("nt,nt->n", np.abs(weights), np.linalg.norm(j.astype(np.float64), axis=2))
  # Where the summands cancel to their rounding the point is Pareto-stationary, and the direction of the rest is noise.
  moves = np.linalg.norm(update, axis=1) > 1e-5 * summed
  assert moves.sum() > len(j) // 6 and not moves.all()
  assert cosines(j, update)[moves].min() > -1e-3
  if name in ("upgrad", "dualproj"):
    assert residuals.max() < 1e-5
  least = {"mgda": 0.0, "cagrad": 0.5 / tasks}.get(name, 1.0 / tasks)  # 1 + c^2 = 2 divides the weights of cagrad
  assert weights.min() >= least * (1.0 - 1e-6)


@pytest.mark.parametrize(
  "name", [*PROMISE, "aligned", "config", "imtl_g", "pcd", "pcgrad", "gradvac", "krum", "sdmgrad"]
)
def test_the_scale_of_all_gradients_does_not_matter(name):
  for j in (well_posed(3), padded(*matrices(3)[13:26])):  # of scale 1
    _, weights, _ = run(name, j)
    for factor in FACTORS:
      np.testing.assert_allclose(run(name, np.float32(factor) * j)[1], weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_fairgrad_falls_with_a_power_of_the_scale(alpha):
  j = well_posed(3).copy()
  j[::2, 0] = 0.0  # a task without gradient decides nothing
  plain, *scaled = (weigh(mtl.balance.fairgrad(alpha), products(f * j)) for f in (1.0, *FACTORS))
  for factor, weights in zip(FACTORS, scaled, strict=True):
    np.testing.assert_allclose(weights * factor ** (2 * alpha / (1 + alpha)), plain, rtol=1e-5)


def test_nash_without_a_limit_does_not_see_the_scale():
  j = well_posed(3)
  plain, *scaled = (weigh(mtl.balance.nash(max_norm=0.0), products(f * j)) for f in (1.0, *FACTORS))
  for weights in scaled:
    np.testing.assert_allclose(weights, plain, rtol=1e-5)


LOPSIDED = np.stack([1e-3 * SINGULAR, 1e-3 * SINGULAR * [[1e3], [1.0], [1.0]]])


def test_upgrad_of_short_gradients_and_of_one_long():
  j = padded(*LOPSIDED)
  found = cosines(j, updates("upgrad", j)[2])[:2]
  np.testing.assert_allclose(found, [[0.133, 0.209, 0.798], [0.447, 0.001, 0.178]], atol=1.5e-3)


def test_torchjds_regularisation_is_an_option():
  weights = weigh(mtl.balance.upgrad(norm_eps=1e-4, reg_eps=1e-4), products(LOPSIDED))
  np.testing.assert_allclose(weights[0], 1 / 3)  # so short that they count as none
  assert cosines(LOPSIDED, np.einsum("nt,ntp->np", weights, LOPSIDED))[1, 1] < -0.8


@pytest.mark.parametrize("name", ["upgrad", "dualproj"])
@pytest.mark.slow
def test_weights_of_short_gradients_beside_four_a_hundred_times_longer(name):
  rng, long = np.random.default_rng(0), np.where(np.arange(9) < 4, 100.0, 1.0)[:, None]
  rows = rng.normal(size=(9, COLUMNS)) + 0.5 * rng.normal(size=COLUMNS)
  rows[4:8] -= 0.5 * rows[:4]  # conflicts
  j = padded(long * rows)
  weights, _, update = updates(name, j)
  assert cosines(j, update).min() > -1e-6
  lower = np.eye(9) / 9 if name == "upgrad" else np.full((1, 9), 1.0 / 9)
  exact = j[0].astype(np.float64)
  least = sum(bounded(exact.T, u).value ** 0.5 for u in lower)
  assert np.linalg.norm(update[0]) <= least * (1.0 + 1e-5)
  assert weights[0, 4:].max() > 3.0


def test_cagrad_of_128_tasks_has_no_negative_weight():
  lengths = np.where(np.arange(128) < 64, 1e6, 1e-6)[:, None]
  j = (np.random.default_rng(1).normal(size=(1, 128, 40)) * lengths).astype(np.float32)
  assert weigh(mtl.balance.cagrad(c=1.0, rescale=0), products(j)).min() >= (1.0 - 1e-6) / 128


def test_cagrad_at_a_stationary_point_projects_the_mean():
  # Two gradients oppose each other, so no update helps both. Or one is 0: the worst gain is at most 0, too.
  opposed = np.array([[1.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.5, 1.0, 0.0]])
  zero = SINGULAR * [[1.0], [1.0], [0.0]]
  j = padded(opposed, zero)
  _, _, found = updates("cagrad", j)
  np.testing.assert_allclose(2.0 * found, updates("dualproj", j)[2], atol=1e-5)


def test_mgda_of_a_task_without_gradient_is_that_task_alone():
  np.testing.assert_array_equal(updates("mgda", padded(SINGULAR * [[0.0], [1.0], [1.0]]))[0][0], [1.0, 0.0, 0.0])
