"""The toy problem of the CAGrad and Nash-MTL papers: its front, and what the papers claim of methods on it."""

import functools

import jax
import numpy as np
import pytest

import mtl_jax as mtl
from benchmarks._toy_problem import STARTS, descend, distance, front, objectives

values = jax.jit(jax.vmap(objectives))


@functools.cache
def ends(name: str) -> np.ndarray:
  """Where the ways end with a fifth of the steps of the Nash-MTL paper, each ten times as long."""
  return descend(getattr(mtl.balance, name)(), steps=7000, learning_rate=1e-2, keep=2)[:, -1]


def test_objectives_by_hand():
  # Below the axis two bowls, times tanh(-x2 / 2); above logarithms with valleys.
  tanh = np.tanh
  low = 0.1 * (np.array([16.0, 100.0]) + 0.1 * 36.0) - 20.0
  high = np.log(np.abs([-5 + tanh(2), 2 - tanh(2)])) + 6
  found = values(np.array([[3.0, -2.0], [3.0, 2.0]], np.float32))
  np.testing.assert_allclose(found, tanh(1.0) * np.stack([low, high]) * [0.1, 1.0], rtol=1e-5)


def test_gradient_at_the_start_between_the_halves():
  # Clamps pass the gradient where they set in, that of both halves: (h - q) / 2 with h = log 3.5 + 6, q = 5.54 - 20.
  slopes = jax.jit(jax.jacrev(lambda x: objectives(x, 1.0)))(np.zeros(2, np.float32))
  np.testing.assert_allclose(slopes, [[0.0, 0.5 * (np.log(3.5) + 6 + 14.46)]] * 2, rtol=1e-5)


def test_no_point_nearby_is_better_than_the_front():
  points = front(41)
  near = points + np.random.default_rng(0).normal(size=(50, 1, 2))
  both = np.asarray(values(np.concatenate([points, near.reshape(-1, 2)]).astype(np.float32)))
  best, others = both[:41], both[41:].reshape(50, 41, 2)
  # from the minimum of f_2 to that of f_1
  np.testing.assert_allclose(points[[0, -1], 0], [-7.0, 7.0], atol=1e-3)
  assert (np.diff(best[:, 0]) < 0).all() and (np.diff(best[:, 1]) > 0).all()
  # none is better in both than some point of the front
  assert not (others[:, :, None] < best - 1e-4).all(axis=-1).any()
  np.testing.assert_allclose(distance(points[5] + np.array([0.0, 2.0])), 2.0, atol=0.01)


def test_equal_weighting_stays_in_the_valley_of_one_start():
  far = distance(ends("equal"))
  assert far[2] > 5.0  # from (9, 9) into the valley of f_2
  assert (np.delete(far, 2) < 0.5).all()


@pytest.mark.parametrize("name", ["nash", "mgda"])
@pytest.mark.slow
def test_methods_that_ignore_the_lengths_of_gradients_reach_the_front_from_all_starts(name):
  far = distance(ends(name))
  assert far.shape == (len(STARTS),) and (far < 0.3).all()


def test_nash_ends_in_the_middle_of_the_front_and_the_sum_at_its_end():
  # f_1 is ten times as small, and so is its weight in the sum; Nash does not see scales.
  reached = [0, 1, 3, 4]
  assert (ends("equal")[reached, 0] < -5.5).all()
  assert (ends("nash")[reached, 0] > -5.0).all()
