"""Tables that are read row by row, whole or as the rows that a batch names."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LAST = np.iinfo(np.int32).max
"""Above the number of any row."""


class Rows(NamedTuple):
  """Some rows of a table (..., R, D).

  Attributes:
    numbers: Which they are, (..., U) int32, ascending and all different; those from R on stand for no row.
    values: The rows, (..., U, D); None: they are elsewhere.
  """

  numbers: jax.Array
  values: Any = None


def lookup(table: jax.Array | Rows, ids: jax.Array) -> jax.Array:
  """Rows of a table by their numbers, as `table[ids]`, for modules whose tables `sparse=` of `mtl.fit` may name.

  Within a step with `sparse=`, the table is replaced by those of its rows that the batch names, which this function
  knows by their numbers. So a module that reads its table by it works with the whole table and with such rows.

  Args:
    table: (R, D), or what stands in its place.
    ids: Numbers of rows, integers of any shape.

  Returns:
    The rows, (*ids.shape, D); NaN where the table has no such row, so that a wrong number does not go unnoticed.

  >>> lookup(jnp.array([[1.0], [2.0]]), jnp.array([1, 0, 1])).tolist()
  [[2.0], [1.0], [2.0]]
  """
  ids = ids.astype(jnp.int32)
  if not isinstance(table, Rows):
    return _taken(table, jnp.where(ids < 0, LAST, ids))
  place = jnp.searchsorted(table.numbers, ids, method="scan_unrolled").astype(jnp.int32)
  is_there = jnp.take(table.numbers, place, mode="clip") == ids
  return _taken(table.values, jnp.where(is_there, place, LAST))


def _taken(values: jax.Array, places: jax.Array) -> jax.Array:
  return jnp.take(values, places, axis=0, mode="fill", fill_value=jnp.nan)


def named(ids: jax.Array, count: int) -> jax.Array:
  """The numbers of the rows that `ids` name, as `Rows.numbers`; numbers below 0 and from `count` on name none.

  >>> named(jnp.array([5, 2, 5, -1]), 9)[:2].tolist()
  [2, 5]
  """
  ids = ids.reshape(-1).astype(jnp.int32)
  size = min(ids.size, count + 1)
  numbers = jnp.unique(jnp.where((ids < 0) | (ids >= count), LAST, ids), size=size, fill_value=LAST)
  return jnp.where(numbers == LAST, LAST - size + 1 + jnp.arange(size, dtype=jnp.int32), numbers)


def take(table: jax.Array, numbers: jax.Array) -> jax.Array:
  """The rows (..., U, D) of a table (..., R, D) of these numbers (U,), zeros where there is none."""
  how = {"mode": "fill", "fill_value": 0, "indices_are_sorted": True, "unique_indices": True}
  return jnp.take(table, numbers, axis=-2, **how)


def put(table: jax.Array, numbers: jax.Array, values: jax.Array) -> jax.Array:
  """The table with these rows in place of its own; numbers of no row are left out."""
  return table.at[..., numbers, :].set(values, mode="drop", indices_are_sorted=True, unique_indices=True)


def values_of(tree: Any) -> Any:
  """The tree with the values of rows in the places of rows."""

  def is_rows(node: Any) -> bool:
    return isinstance(node, Rows)

  return jax.tree.map(lambda node: node.values if is_rows(node) else node, tree, is_leaf=is_rows)
