"""Uncertainty weighting against its derivation by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats

LOSSES = np.array([[2.0, 0.5, 1.0], [1.5, 0.4, 1.0], [1.0, 0.3, 1.0]], np.float32)


def adam(gradients, learning_rate: float, b1=0.9, b2=0.999, eps=1e-8) -> np.ndarray:
  """The sum of Adam's steps; `gradients(s)` in turn."""
  s, m, v = np.zeros(3), np.zeros(3), np.zeros(3)
  for count, gradient in enumerate(gradients, 1):
    g = gradient(s)
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    s = s - learning_rate * (m / (1 - b1**count)) / (np.sqrt(v / (1 - b2**count)) + eps)
  return s


@pytest.mark.parametrize("kinds", [None, [True, False, True]])
def test_weights_log_variances_and_objective_by_hand(kinds):
  factor = np.where([False] * 3 if kinds is None else kinds, 1.0, 0.5)
  balancer = mtl.balance.uncertainty(learning_rate=0.1, classification=kinds)
  state = balancer.init(3)
  for step, losses in enumerate(LOSSES):
    # d/ds of factor exp(-s) l + s / 2
    past = [lambda s, loss=loss: -factor * np.exp(-s) * loss + 0.5 for loss in LOSSES[:step]]
    s = adam(past, 0.1)
    weights, state = jax.jit(balancer.weigh)(Stats(jnp.asarray(losses)), state)
    np.testing.assert_allclose(weights, factor * np.exp(-s), rtol=1e-4)
    report = balancer.report(state)
    np.testing.assert_allclose(report["objective"], np.sum(factor * np.exp(-s) * losses + 0.5 * s), rtol=1e-4)
  past.append(lambda s: -factor * np.exp(-s) * LOSSES[2] + 0.5)
  np.testing.assert_allclose(report["log_variance"], adam(past, 0.1), rtol=1e-3, atol=1e-5)


def test_log_variances_settle_at_the_logarithm_of_the_loss():
  # The minimum of exp(-s) l / 2 + s / 2 is s = log l; weight decay would pull it to 0.
  balancer = mtl.balance.uncertainty(learning_rate=0.05)
  losses = jnp.array([0.1, 1.0, 20.0])

  def step(state, _):
    return balancer.weigh(Stats(losses), state)[1], None

  state, _ = jax.lax.scan(step, balancer.init(3), length=1500)
  np.testing.assert_allclose(state.log_variance.value, np.log(losses), atol=0.02)
  objective = balancer.report(state)["objective"]
  np.testing.assert_allclose(objective, np.sum(0.5 + 0.5 * np.log(losses)), atol=0.01)


def test_own_optimizer():
  balancer = mtl.balance.uncertainty(optimizer=optax.sgd(0.1))
  _, state = balancer.weigh(Stats(jnp.asarray(LOSSES[0])), balancer.init(3))
  np.testing.assert_allclose(state.log_variance.value, -0.1 * (0.5 - 0.5 * LOSSES[0]), rtol=1e-5)


def test_mistakes():
  with pytest.raises(mtl.UserError, match="classification has 2 entries, expected 3, one per task"):
    mtl.balance.uncertainty(classification=[True, False]).init(3)
  with pytest.raises(mtl.UserError, match="learning_rate is 0.0, expected above 0"):
    mtl.balance.uncertainty(learning_rate=0.0)
