"""GradNorm against its formula in numpy."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from tests.balance._sequence import gradients, run_steps


@pytest.mark.parametrize("alpha", [0.0, 1.5])
def test_weights_by_hand(alpha):
  j, rng = gradients(8, 3), np.random.default_rng(0)
  losses = rng.uniform(0.5, 2.0, (8, 3))
  balancer = mtl.balance.gradnorm(alpha=alpha, optimizer=optax.sgd(0.03))
  updates, weights, _ = run_steps(balancer, j, losses)
  w = np.ones(3)
  for k, g in enumerate(j.astype(np.float64)):
    np.testing.assert_allclose(weights[k], w, rtol=1e-4)
    np.testing.assert_allclose(updates[k], w @ g, rtol=1e-3, atol=1e-4)
    n = np.linalg.norm(g, axis=1)
    rate = losses[k] / losses[0]
    target = np.mean(w * n) * (rate / rate.mean()) ** alpha  # held constant
    w = w - 0.03 * np.sign(w * n - target) * n
    assert w.min() > 1e-3
    w = 3 * w / w.sum()
  assert np.ptp(w) > 0.2


def test_evens_the_gradients_out():
  j = np.tile(gradients(1, 2), (300, 1, 1))
  _, weights, _ = run_steps(mtl.balance.gradnorm(), j)
  weighted = weights[-1] * np.linalg.norm(j[0], axis=1)
  # a constant step of 0.025 goes to and fro around the target
  np.testing.assert_allclose(weighted[0], weighted[1], rtol=0.1)


def test_weights_stay_positive_and_sum_to_the_number_of_tasks():
  _, weights, _ = run_steps(mtl.balance.gradnorm(learning_rate=3.0), gradients(50, 3))
  assert weights.min() > 0
  np.testing.assert_allclose(weights.sum(axis=1), 3.0, rtol=1e-5)


def test_measures_the_gradients_of_one_layer():
  j = gradients(2, 2)
  j[:, :, 2:] *= np.array([[1.0], [100.0]], np.float32)  # outside of the layer
  _, weights, _ = run_steps(mtl.balance.gradnorm(layer="^a$", optimizer=optax.sgd(0.1)), j)
  n = np.linalg.norm(j[0, :, :2], axis=1)
  w = 1 - 0.1 * np.sign(n - n.mean()) * n
  np.testing.assert_allclose(weights[1], 2 * w / w.sum(), rtol=1e-4)


def test_zero_losses_are_measured_from_the_first_positive_one():
  losses = np.array([[0.0, 1.0], [2.0, 1.0], [1.0, 0.0]])
  _, weights, state = run_steps(mtl.balance.gradnorm(), gradients(3, 2), losses)
  np.testing.assert_array_equal(state.initial, [2.0, 1.0])
  assert np.isfinite(weights).all()


def test_heads_are_weighted_and_mistakes_told():
  balancer = mtl.balance.gradnorm()
  assert balancer.head_weights(jnp.array([0.5, 1.5]), balancer.init(2)).tolist() == [0.5, 1.5]
  with pytest.raises(mtl.UserError, match="alpha is -1"):
    mtl.balance.gradnorm(alpha=-1)
  with pytest.raises(mtl.UserError, match="learning_rate is 0"):
    mtl.balance.gradnorm(learning_rate=0)
