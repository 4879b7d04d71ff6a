"""Sentences packed one after the other into rows: how they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.nn._padded import read


def packed(trunk: str, given: Any, names: Sequence[str]) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The entries (B, L, ...) of an input, its mask (B, L), bool, and its segments (B, L), int32, 0 at padding.

  Without segments each row is one sentence; without a mask it is where there are segments.

  Raises:
    UserError: As in `_padded.read`; the segments are not (B, L) integers.
  """
  x, mask = read(trunk, given, names)
  segments = given.get("segments") if isinstance(given, Mapping) else None
  if segments is None:
    return x, mask, mask.astype(jnp.int32)
  if segments.shape != x.shape[:2] or not jnp.issubdtype(segments.dtype, jnp.integer):
    raise UserError(
      f"{trunk}: the segments are {segments.dtype}{list(segments.shape)} and the input {list(x.shape)}, expected "
      f"integers {list(x.shape[:2])}, the number of its sentence at each position, and 0 at padding."
    )
  mask = mask & (segments > 0)
  return x, mask, jnp.where(mask, segments, 0).astype(jnp.int32)
