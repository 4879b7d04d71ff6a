"""Dynamic weight average: windows by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats


def weights_of(balancer, losses) -> np.ndarray:
  state, found = balancer.init(losses.shape[1]), []
  weigh = jax.jit(balancer.weigh)
  for row in losses:
    weights, state = weigh(Stats(jnp.asarray(row)), state)
    found.append(np.asarray(weights))
  return np.stack(found)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_windows_by_hand(temperature):
  losses = np.random.default_rng(0).uniform(0.5, 2.0, (12, 3)).astype(np.float32)
  found = weights_of(mtl.balance.dwa(temperature, window=3), losses)
  np.testing.assert_array_equal(found[:6], 1.0)
  means = losses.reshape(4, 3, 3).mean(axis=1)
  for window in (2, 3):
    e = np.exp(means[window - 1] / means[window - 2] / temperature)
    expected = np.tile(3 * e / e.sum(), (3, 1))
    np.testing.assert_allclose(found[3 * window : 3 * window + 3], expected, rtol=1e-5)


def test_a_task_without_loss_two_windows_ago_counts_as_constant():
  losses = np.array([[0.0, 1.0], [5.0, 1.0], [5.0, 1.0]], np.float32)
  np.testing.assert_allclose(weights_of(mtl.balance.dwa(window=1), losses)[2], 1.0)


def test_finite_at_extreme_rates():
  losses = np.array([[1e-30, 1e-30, 1.0], [1e30, 1e30, 1.0], [1.0, 1.0, 1.0]], np.float32)
  found = weights_of(mtl.balance.dwa(temperature=0.1, window=1), losses)
  np.testing.assert_allclose(found[2], [1.5, 1.5, 0.0], atol=1e-6)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"window": 0}])
def test_options_out_of_range(options):
  with pytest.raises(mtl.UserError, match="expected above 0 and at least 1"):
    mtl.balance.dwa(**options)
