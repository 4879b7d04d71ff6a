"""The Gram matrix of stacked gradients: all leaves, all widths, float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import _gram


@pytest.mark.parametrize("width", [1, 100, 2 * _gram._SLICE, 2 * _gram._SLICE + 7])
@pytest.mark.parametrize("devices", [1, 2])
def test_equals_the_product_of_the_flattened_rows(monkeypatch, width, devices):
  monkeypatch.setattr(jax, "device_count", lambda: devices)  # several devices take the path without reshape
  keys = jax.random.split(jax.random.key(0))
  rows = {"a": jax.random.normal(keys[0], (3, width)), "b": [jax.random.normal(keys[1], (3, 2, 4, 5))]}
  flat = np.concatenate([np.asarray(leaf, np.float64).reshape(3, -1) for leaf in jax.tree.leaves(rows)], axis=1)
  np.testing.assert_allclose(mtl.balance.gram(rows), flat @ flat.T, rtol=1e-4, atol=1e-4 * width**0.5)


def test_bfloat16_rows_accumulate_in_float32():
  rows = {"w": jnp.ones((2, 5000), jnp.bfloat16)}
  assert mtl.balance.gram(rows).dtype == jnp.float32
  assert mtl.balance.gram(rows)[0, 1] == 5000.0  # bfloat16 itself stops counting at 256


def test_nothing_shared_is_an_error():
  with pytest.raises(mtl.UserError, match="no parameter is shared"):
    mtl.balance.gram({})
