"""Constant, scheduled and equal weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats

STATS = Stats(jnp.array([3.0, 4.0]))


@pytest.mark.parametrize("weights", [[1.0, 0.5], (1.0, 0.5), np.array([1, 0.5]), jnp.array([1, 0.5])])
def test_given_weights(weights):
  balancer = mtl.balance.constant(weights)
  found, _ = balancer.weigh(STATS, balancer.init(2))
  assert found.dtype == jnp.float32
  np.testing.assert_array_equal(found, [1.0, 0.5])


def test_tasks_that_are_present_keep_their_weights():
  balancer = mtl.balance.constant([1.0, 2.0, 3.0])
  stats = Stats(jnp.array([3.0, 0.0, 4.0]), present=jnp.array([True, False, True]))
  np.testing.assert_array_equal(balancer.weigh(stats, balancer.init(3))[0], [1.0, 0.0, 3.0])


def test_schedule():
  balancer = mtl.balance.constant(lambda step: jnp.array([1.0, 0.0]) + 0.25 * step.astype(jnp.float32))

  def step(state, _):
    weights, state = balancer.weigh(STATS, state)
    return state, weights

  _, weights = jax.lax.scan(step, balancer.init(2), length=4)
  np.testing.assert_allclose(weights, [[1 + 0.25 * i, 0.25 * i] for i in range(4)])


@pytest.mark.parametrize("weights", [[1.0], np.ones((1, 2)), lambda step: jnp.ones(3)])
def test_wrong_number_of_weights(weights):
  with pytest.raises(mtl.UserError, match=r"constant: the weights have shape .*, expected \(2,\), one per task"):
    mtl.balance.constant(weights).init(2)


def test_equal_weights_are_ones():
  np.testing.assert_array_equal(mtl.balance.equal().weigh(STATS, ())[0], [1.0, 1.0])
