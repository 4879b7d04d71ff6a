"""Sentences packed one after the other into rows: how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax.nn._padded import read, segments_of


def packed(trunk: str, given: Any, names: Sequence[str]) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The entries (B, L, ...) of an input, its mask (B, L), bool, and its segments (B, L), int32, 0 at padding.

  Without segments each row is one sentence; without a mask it is where there are segments.

  Raises:
    UserError: As in `read` and `segments_of`.
  """
  x, mask = read(trunk, given, names)
  segments = segments_of(trunk, given, x.shape[:2])
  if segments is None:
    return x, mask, mask.astype(jnp.int32)
  mask = mask & (segments > 0)
  return x, mask, jnp.where(mask, segments, 0).astype(jnp.int32)
