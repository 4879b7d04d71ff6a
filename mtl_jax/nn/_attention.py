"""Attention between the positions of sequences, as transformers have it."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError

BLOCK = 512
"""Of how many positions at a time longer sequences compute what they attend to."""


def attend(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
  """Attention of several heads, (B, L, heads, D) each, with a mask (B, 1, 1 or L, L); in the dtype of the values.

  Sequences of more than `BLOCK` positions are computed in blocks of them, one after the other, and again in the
  backward pass: the same result, but weights of (B, heads, L, L) are never in memory as a whole.
  """
  length = query.shape[1]
  if length <= BLOCK:
    return _attended(query, key, value, mask)
  count = -(-length // BLOCK)
  size = -(-length // count)

  def blocks(x: jax.Array, axis: int) -> jax.Array:
    padding = [(0, count * size - length if i == axis else 0) for i in range(x.ndim)]
    split = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    return jnp.moveaxis(jnp.pad(x, padding).reshape(split), axis, 0)

  @partial(jax.checkpoint, prevent_cse=False)  # nothing outside of the loop looks like what is inside
  def block(own: dict[str, jax.Array]) -> jax.Array:
    return _attended(**{"key": key, "value": value, "mask": mask} | own)

  each = {"query": blocks(query, 1)}
  if mask.shape[2] > 1:  # otherwise all positions attend to the same
    each["mask"] = blocks(mask, 2)
  found = jnp.moveaxis(jax.lax.map(block, each), 0, 1)
  return found.reshape(len(query), count * size, *query.shape[2:])[:, :length]


def _attended(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
  with jax.numpy_dtype_promotion("standard"):  # it takes the softmax of bfloat16 in float32
    return jax.nn.dot_product_attention(query, key, value, mask=mask)


def check_heads(trunk: str, width: int, heads: int) -> None:
  """Refuses a number of heads that does not divide the width."""
  if width % heads:
    raise UserError(f"{trunk}: width is {width} and heads {heads}, expected heads to divide it.")
