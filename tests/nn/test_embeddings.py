"""Categorical columns as vectors: rows of one table, bags, and what is no category."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax._core.rows import LAST, Rows, named, put, take

MODULE = mtl.nn.Embeddings((5, 3), 4, multiple=8)
TABLE = jnp.arange(32.0).reshape(8, 4)


def test_columns_lie_one_after_the_other_in_a_table_that_devices_divide():
  net = mtl.from_linen(MODULE)
  params, _ = net.init(jax.random.key(0), jnp.zeros((1, 2), int))
  assert {name: leaf.shape for name, leaf in params.items()} == {"table": (8, 4)}
  assert mtl.nn.Embeddings((5, 4), 4, multiple=8).count == 16
  x = np.array([[4, 0], [0, 2]])
  np.testing.assert_array_equal(MODULE.rows(x), [[4, 5], [0, 7]])
  found, _ = net.apply({"table": TABLE}, {}, x)
  np.testing.assert_array_equal(found, TABLE[jnp.array([[4, 5], [0, 7]])])


@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_bags_are_pooled_without_padding(pool):
  net = mtl.from_linen(mtl.nn.Embeddings((5, 3), 4, pool=pool))
  ids = np.array([[[4, 1, -7], [2, 99, 99]], [[0, 0, 0], [9, 9, 9]]])
  mask = np.array([[[1, 1, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]])
  found, _ = net.apply({"table": TABLE}, {}, {"ids": ids, "mask": mask})
  count = 2 if pool == "mean" else 1
  wanted = [[(TABLE[4] + TABLE[1]) / count, TABLE[7]], [TABLE[0] * (1 if pool == "mean" else 3), 0 * TABLE[0]]]
  np.testing.assert_allclose(found, wanted)
  every, _ = mtl.from_linen(mtl.nn.Embeddings((5, 3), 4, pool=None)).apply(
    {"table": TABLE}, {}, {"ids": ids, "mask": mask}
  )
  np.testing.assert_allclose(
    every.sum(axis=2), np.asarray(found) * (1 if pool == "sum" else mask.sum(axis=2, keepdims=True))
  )
  assert (MODULE.rows({"ids": ids, "mask": mask}) >= 0).astype(int).tolist() == mask.tolist()


@pytest.mark.parametrize("wrong", [-1, 5, 2**31 - 1])
def test_what_is_no_category_has_nan_whole_and_by_rows(wrong):
  x = np.array([[4, 1], [wrong, 1]])
  numbers = named(MODULE.rows(x), 8)
  for table in (TABLE, Rows(numbers, take(TABLE, numbers))):
    found, _ = mtl.from_linen(MODULE).apply({"table": table}, {}, x)
    np.testing.assert_array_equal(np.isnan(found).all(axis=2), [[False, False], [True, False]])
    np.testing.assert_array_equal(found[0], TABLE[jnp.array([4, 6])])


def test_rows_are_ascending_and_different_and_fill_touches_no_row():
  numbers = named(jnp.array([[6, 2, -1], [2, 8, LAST]]), 8)
  assert numbers.tolist()[:2] == [2, 6] and (np.diff(numbers.astype(jnp.uint32)) > 0).all() and numbers[2] > 1000
  tables = jnp.stack([TABLE, -TABLE])
  rows = take(tables, numbers)
  np.testing.assert_array_equal(rows[:, :2], tables[:, jnp.array([2, 6])])
  assert not rows[:, 2:].any()
  changed = put(tables, numbers, rows + 1)
  np.testing.assert_array_equal((changed - tables)[..., 0], [[0, 0, 1, 0, 0, 0, 1, 0]] * 2)


@pytest.mark.parametrize(
  ("module", "x", "message"),
  [
    (MODULE, jnp.zeros((2, 3), int), r"the input is int32 \(2, 3\), expected integers \(B, 2\), or bags \(B, 2, L\)"),
    (MODULE, jnp.zeros((2, 2)), "the input is float32"),
    (MODULE, {"bags": jnp.zeros((2, 2), int)}, "the input has the entries 'bags', expected 'ids' and 'mask'"),
    (MODULE, {"ids": jnp.zeros((2, 2, 3), int), "mask": jnp.ones((2, 2))}, r"the mask has shape \(2, 2\)"),
    (mtl.nn.Embeddings((5, 0), 4), jnp.zeros((2, 2), int), "sizes holds 0, expected at least 1"),
    (mtl.nn.Embeddings((2**30, 2**30), 4), jnp.zeros((2, 2), int), "2,147,483,648 rows together"),
    (mtl.nn.Embeddings((5,), 4, pool="max"), jnp.zeros((2, 1, 3), int), "pool is 'max', expected 'mean', 'sum'"),
  ],
)
def test_mistakes(module, x, message):
  with pytest.raises(mtl.UserError, match=message):
    jax.eval_shape(mtl.from_linen(module).init, jax.random.key(0), x)
