"""The Gram matrix of stacked gradients: all leaves, all widths, float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax._core import devices
from mtl_jax._core import gram as _gram


@pytest.mark.parametrize("width", [1, 100, 2 * _gram._SLICE, 2 * _gram._SLICE + 7])
@pytest.mark.parametrize("one_cpu", [True, False])
def test_equals_the_product_of_the_flattened_rows(monkeypatch, width, one_cpu):
  monkeypatch.setattr(devices, "on_one_cpu", lambda: one_cpu)  # elsewhere nothing is flattened or sliced
  keys = jax.random.split(jax.random.key(0))
  rows = {"a": jax.random.normal(keys[0], (3, width)), "b": [jax.random.normal(keys[1], (3, 2, 4, 5))]}
  flat = np.concatenate([np.asarray(leaf, np.float64).reshape(3, -1) for leaf in jax.tree.leaves(rows)], axis=1)
  each = [jax.tree.map(lambda leaf, i=i: leaf[i], rows) for i in range(3)]
  for found in (mtl.balance.gram(rows), _gram.gram_of_each(each)):
    np.testing.assert_allclose(found, flat @ flat.T, rtol=1e-4, atol=1e-4 * width**0.5)


def test_bfloat16_rows_accumulate_in_float32():
  rows = {"w": jnp.ones((2, 5000), jnp.bfloat16)}
  assert mtl.balance.gram(rows).dtype == _gram.gram_of_each([rows, rows]).dtype == jnp.float32
  assert mtl.balance.gram(rows)[0, 1] == 5000.0  # bfloat16 itself stops counting at 256
  assert _gram.gram_of_each([rows, rows])[0, 1] == 10000.0


def test_nothing_shared_is_an_error():
  with pytest.raises(mtl.UserError, match="no parameter is shared"):
    mtl.balance.gram({})
