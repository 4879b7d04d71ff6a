"""Gradients of complex parameters: as vectors of their real and imaginary parts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax._core import devices
from mtl_jax._core import gram as _gram
from mtl_jax.balance.toolkit import rows as _rows

ROWS = np.array([[[1 + 2j, 0.5], [3.0, 0.0]], [[1 - 2j, 0.3j], [-1.0, 1j]], [[0.0, 1.0], [-2j, 0.2]]], np.complex64)


def as_real(x) -> np.ndarray:
  return np.stack([np.real(x), np.imag(x)], axis=-1)


def aggregated(balancer, rows):
  rows = jnp.asarray(rows)
  params = {"w": jnp.zeros(rows.shape[1:], rows.dtype)}
  tx = mtl.aggregate(balancer, num_tasks=len(rows))
  found: Any = tx.update(mtl.TaskGradients({"w": rows}), tx.init(params), params, losses=jnp.ones(len(rows)))
  updates, state = found
  assert updates["w"].dtype == rows.dtype
  return np.asarray(updates["w"]), np.asarray(state.weights)


@pytest.mark.parametrize(
  ("name", "rows", "expected"),
  [("mgda", [[2j, 0], [0, 1j]], [0.2, 0.8]), ("pcgrad", [[1 + 2j, 0], [1 - 2j, 0]], [1.6, 1.6])],
)
def test_weights(name, rows, expected):
  rows = np.array(rows, np.complex64)
  update, weights = aggregated(getattr(mtl.balance, name)(), rows)
  np.testing.assert_allclose(weights, expected, rtol=1e-5)
  np.testing.assert_allclose(update, weights @ rows, rtol=1e-6)


@pytest.mark.parametrize("one_cpu", [True, False])
def test_the_gram_matrix_is_that_of_real_and_imaginary_parts(monkeypatch, one_cpu):
  monkeypatch.setattr(devices, "on_one_cpu", lambda: one_cpu)
  flat = as_real(ROWS).reshape(3, -1).astype(np.float64)
  rows = {"a": jnp.asarray(ROWS[:, :1]), "b": jnp.asarray(ROWS[:, 1])}
  each = [jax.tree.map(lambda leaf, i=i: leaf[i], rows) for i in range(3)]
  across = jnp.asarray(ROWS.reshape(3, 4).T[:, :, None])  # tasks behind
  for found in (_gram.gram(rows), _gram.gram_of_each(each), _gram.inner_products(across, across, axis=1)):
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, flat @ flat.T, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["moco", "db"])
def test_methods_that_remember_gradients_find_the_same_of_both_parts(name):
  make = getattr(mtl.balance, name)
  update, weights = aggregated(make(), ROWS)
  expected, real_weights = aggregated(make(), as_real(ROWS))
  np.testing.assert_allclose(as_real(update), expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(weights, real_weights, rtol=1e-5)


def test_methods_without_meaning_there_can_refuse():
  with pytest.raises(mtl.UserError, match="graddrop: the gradient of a/w is complex and has no sign, expected real"):
    _rows.check_real("graddrop", {"a": {"w": jnp.asarray(ROWS)}}, "has no sign")


@pytest.mark.parametrize("name", ["graddrop", "trimmed_mean", "excess"])
def test_methods_of_real_coordinates_refuse_complex_ones(name):
  balancer = mtl.balance.trimmed_mean(1) if name == "trimmed_mean" else getattr(mtl.balance, name)()
  rows, shared = {"w": jnp.ones((3, 2), jnp.complex64)}, {"w": jnp.ones(2)}
  with pytest.raises(mtl.UserError, match=f"{name}: the gradient of w is complex and"):
    balancer.combine(mtl.balance.Stats(jnp.ones(3), rows=rows), balancer.init(3, shared))
