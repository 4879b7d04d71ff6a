"""Categorical columns as vectors, from one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.rows import lookup
from mtl_jax.nn._padded import kept, pooled


class Embeddings(nn.Module):
  r"""A vector for each categorical column of an example, or for each bag of categories.

  $$ y_{bc} = E_{o_c + x_{bc}}, \qquad o_c = \sum_{c' < c} n_{c'} $$

  All columns lie one after the other in one table E, `table` among the parameters, so that a mesh can divide its rows
  (`rules="row_wise"`), and a step can update those rows alone that its batch names:
  `sparse={"table$": lambda batch: module.rows(batch["x"])}`, see `mtl.fit`. A number that is no category of its column
  has NaN for a vector, and training stops at it.

  Attributes:
    sizes: n, the number of categories of each column, (C,).
    features: The length D of the vectors.
    pool: What is made of a bag: `"mean"` or `"sum"`; None: nothing, it gives all its vectors.
    multiple: The rows are filled up to a multiple of this, so that a mesh of as many devices can divide them.

  >>> import mtl_jax as mtl
  >>> net = mtl.from_linen(Embeddings((1000, 50), features=8))
  >>> params, state = net.init(jax.random.key(0), jnp.zeros((4, 2), int))
  >>> params["table"].shape, net.apply(params, state, jnp.array([[999, 49]]))[0].shape
  ((1050, 8), (1, 2, 8))
  """

  sizes: Sequence[int]
  features: int
  pool: str | None = "mean"
  multiple: int = 1

  @nn.compact
  def __call__(self, x: Any) -> jax.Array:
    """Looks the vectors up.

    Args:
      x: Categories, integers (B, C), those of column c in [0, n_c). Or bags (B, C, L); with
        `{"ids": bags, "mask": (B, C, L)}` those without a mask are left out, and an empty bag is 0.

    Returns:
      The vectors (B, C, D); of bags that are not pooled (B, C, L, D), 0 where there is no mask.

    Raises:
      UserError: Sizes below 1, or more rows than int32 can count; the input is no such array.
    """
    ids, mask = self._read(x)
    # `self.param` would refuse the rows of a batch in place of the table.
    table = self.get_variable("params", "table")
    if table is None:
      table = self.param("table", nn.initializers.normal(self.features**-0.5), (self.count, self.features))
    vectors = lookup(table, self.rows(x))
    if ids.ndim == 2:
      return vectors
    if self.pool is None:
      return kept(vectors, mask)
    bags = pooled("Embeddings", self.pool, _flat(vectors), _flat(mask), ("mean", "sum"))
    return bags.reshape(*ids.shape[:2], self.features)

  @property
  def count(self) -> int:
    """The number of rows of the table."""
    return -(-sum(self.sizes) // self.multiple) * self.multiple

  @nn.nowrap
  def rows(self, x: Any) -> jax.Array:
    """The rows of the table that an input names, for `sparse=` of `mtl.fit`.

    Args:
      x: As in a call.

    Returns:
      Their numbers, int32, in the shape of the categories; -1 for what is no category or has no mask.

    Raises:
      UserError: As in a call.
    """
    ids, mask = self._read(x)
    column = (-1, *[1] * (ids.ndim - 2))
    sizes, starts = (
      jnp.broadcast_to(np.array(one, np.int32).reshape(column), ids.shape)
      for one in (self.sizes, np.cumsum([0, *self.sizes[:-1]]))
    )
    return jnp.where((ids >= 0) & (ids < sizes) & mask, ids + starts, -1)

  @nn.nowrap
  def _read(self, x: Any) -> tuple[jax.Array, jax.Array]:
    """The categories of an input, int32, and their mask, bool; raises a `UserError` where it is none."""
    self._check()
    if isinstance(x, Mapping) and "ids" not in x:
      raise UserError(f"Embeddings: the input has the entries {', '.join(map(repr, x))}, expected 'ids' and 'mask'.")
    ids, mask = (x["ids"], x.get("mask")) if isinstance(x, Mapping) else (x, None)
    ids = jnp.asarray(ids)
    if ids.ndim not in (2, 3) or ids.shape[1] != len(self.sizes) or not jnp.issubdtype(ids.dtype, jnp.integer):
      expected = f"integers (B, {len(self.sizes)}), or bags (B, {len(self.sizes)}, L)"
      raise UserError(f"Embeddings: the input is {ids.dtype} {ids.shape}, expected {expected}.")
    mask = jnp.ones(ids.shape, bool) if mask is None else jnp.asarray(mask).astype(bool)
    if mask.shape != ids.shape:
      raise UserError(f"Embeddings: the mask has shape {mask.shape}, expected that of the input, {ids.shape}.")
    return ids.astype(jnp.int32), mask

  @nn.nowrap
  def _check(self) -> None:
    """Raises a `UserError` for options that make no table."""
    for name, found in (
      ("sizes", min(self.sizes, default=0)),
      ("features", self.features),
      ("multiple", self.multiple),
    ):
      if found < 1:
        raise UserError(f"Embeddings: {name} holds {found}, expected at least 1.")
    if self.count >= 2**31:
      raise UserError(f"Embeddings: the columns have {self.count:,} rows together, expected fewer than 2^31.")


def _flat(bags: jax.Array) -> jax.Array:
  """(B, C, L, ...) as (B C, L, ...)."""
  return bags.reshape(-1, *bags.shape[2:])
