"""Rows that hold several sequences one after the other: where each begins."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def starts(segments: Any) -> jax.Array:
  """Of each position of rows (B, L) the first position of its own sequence, int32.

  Args:
    segments: Which sequence of the row a position belongs to, integers.

  >>> starts(jnp.asarray([[1, 1, 2, 2, 2, 0]])).tolist()
  [[0, 0, 2, 2, 2, 5]]
  """
  segments = jnp.asarray(segments)
  new = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)), constant_values=True)
  return jax.lax.cummax(jnp.where(new, columns(segments), 0), axis=1)


def columns(segments: jax.Array) -> jax.Array:
  """The numbers of the positions of rows, (B, L) int32.

  >>> columns(jnp.zeros((2, 3))).tolist()
  [[0, 1, 2], [0, 1, 2]]
  """
  return jnp.broadcast_to(jnp.arange(segments.shape[1], dtype=jnp.int32)[None], segments.shape)
