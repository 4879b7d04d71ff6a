"""The losses that keep experts busy, on examples worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.arch import balancing


def test_switch_loss():
  p = jnp.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
  chosen = jax.nn.one_hot(jnp.argmax(p, axis=1), 2)
  assert float(balancing.switch(p, chosen)) == pytest.approx(1.044444, abs=1e-6)
  both = jnp.ones_like(p)  # k = 2: each expert has half of the choices
  assert float(balancing.switch(p, both)) == pytest.approx(1.0, abs=1e-6)
  assert not np.any(jax.grad(lambda c: balancing.switch(p, c))(chosen))  # shares are counts


def test_importance():
  assert float(balancing.importance(jnp.array([[3.0, 1.0]]))) == pytest.approx(0.25, abs=1e-6)
  assert float(balancing.importance(jnp.array([[2.0, 1.0], [3.0, 0.0]]))) == pytest.approx(4 / 9, abs=1e-6)
  assert float(balancing.importance(jnp.array([[1.0, 0.0], [0.0, 1.0]]))) == 0.0


CLEAN, NOISY = jnp.array([[1.0, 0.5, 0.0]]), jnp.array([[1.070315, 0.359371, 0.210944]])


def test_expected_load():
  deviation = jax.nn.softplus(jnp.zeros((1, 3))) + 0.01
  np.testing.assert_allclose(deviation, np.full((1, 3), 0.703147), atol=1e-6)
  found = balancing.expected_load(CLEAN, NOISY, deviation, 1)
  np.testing.assert_allclose(found, [[0.818876, 0.208657, 0.063982]], atol=1e-5)
  total = np.array([0.818876, 0.208657, 0.063982])
  assert float(balancing.load(CLEAN, NOISY, deviation, 1)) == pytest.approx(total.var() / total.mean() ** 2, rel=1e-4)


def test_expected_load_of_several_experts_by_drawing():
  """The share of draws of an expert's own noise with which it is among the two largest."""
  keys = jax.random.split(jax.random.key(0), 3)
  clean, deviation = jax.random.normal(keys[0], (4, 5)), jax.random.uniform(keys[1], (4, 5)) + 0.5
  noisy = clean + deviation * jax.random.normal(keys[2], (4, 5))
  found = balancing.expected_load(clean, noisy, deviation, 2)
  draws = np.random.default_rng(0).normal(size=(4000, 4, 5)) * np.asarray(deviation) + np.asarray(clean)
  for e in range(5):
    others = np.sort(np.delete(np.asarray(noisy), e, axis=1), axis=1)[:, -2]
    np.testing.assert_allclose(found[:, e], (draws[:, :, e] > others).mean(axis=0), atol=0.04)  # 5 standard errors


def test_expected_load_where_all_are_chosen():
  def total(clean):
    return jnp.sum(balancing.expected_load(clean, NOISY, jnp.ones((1, 3)), 3))

  value, gradient = jax.value_and_grad(total)(CLEAN)
  assert float(value) == 3.0 and not np.any(gradient)


def test_z_loss():
  assert float(balancing.z(jnp.array([[1.0, 0.0], [0.0, 0.0]]))) == pytest.approx(1.102555, abs=1e-6)


def test_bias_that_moves():
  found = balancing.moved_bias(jnp.zeros(3), jnp.array([6.0, 1.0, 2.0]), 1e-3)
  np.testing.assert_allclose(found, [-1e-3, 1e-3, 1e-3], rtol=1e-6)
  np.testing.assert_array_equal(balancing.moved_bias(found, jnp.array([3.0, 3.0, 3.0]), 1e-3), found)
