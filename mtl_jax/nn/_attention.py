"""Attention between the positions of sequences, as transformers have it."""

from __future__ import annotations

import jax

from mtl_jax._core.errors import UserError


def attend(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
  """Attention of several heads, (B, L, heads, D) each, with a mask (B, 1, 1 or L, L); in the dtype of the values."""
  with jax.numpy_dtype_promotion("standard"):  # it takes the softmax of bfloat16 in float32
    return jax.nn.dot_product_attention(query, key, value, mask=mask)


def check_heads(trunk: str, width: int, heads: int) -> None:
  """Refuses a number of heads that does not divide the width."""
  if width % heads:
    raise UserError(f"{trunk}: width is {width} and heads {heads}, expected heads to divide it.")
