"""DB-MTL against its formula in numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._sequence import gradients, run_steps


@pytest.mark.parametrize(("beta", "sigma"), [(0.9, 0.2), (0.5, 0.0), (0.0, 0.0)])
def test_averaged_log_gradients_at_the_largest_norm(beta, sigma):
  j, rng = gradients(6, 3), np.random.default_rng(0)
  losses = rng.uniform(0.1, 3.0, (6, 3))
  updates, weights, state = run_steps(mtl.balance.db(beta, sigma), j, losses)
  y = np.zeros(j.shape[1:])
  for k, (g, loss) in enumerate(zip(j.astype(np.float64), losses, strict=True), 1):
    new = g / loss[:, None]
    y = new + beta / k**sigma * (y - new)
    norms = np.linalg.norm(y, axis=1)
    alpha = norms.max() / norms
    np.testing.assert_allclose(weights[k - 1], alpha, rtol=1e-4)
    np.testing.assert_allclose(updates[k - 1], alpha @ y, rtol=1e-3, atol=1e-4)
  found = mtl.balance.db().head_weights(jnp.ones(3), state)
  np.testing.assert_allclose(found, 1 / losses[-1], rtol=1e-5)  # heads minimise the logarithms too


def test_far_apart_lengths_do_not_overflow():
  j = gradients(2, 2) * np.array([1e-25, 1e15], np.float32)[:, None]
  updates, weights, _ = run_steps(mtl.balance.db(beta=0.0), j)
  direction = j.astype(np.float64) / np.linalg.norm(j.astype(np.float64), axis=2, keepdims=True)
  longest = np.linalg.norm(j[:, 1].astype(np.float64), axis=1, keepdims=True)
  np.testing.assert_allclose(updates, longest * direction.sum(axis=1), rtol=1e-3)
  assert np.isfinite(weights).all()


def test_takes_positive_losses_only():
  balancer = mtl.balance.db()
  assert balancer.losses_above == 0 and "losses" in balancer.needs
  with pytest.raises(mtl.UserError, match="beta is 1.0"):
    mtl.balance.db(beta=1.0)
