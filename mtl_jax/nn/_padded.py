"""Sequences and sets of different lengths, padded to one: how they are read, and how one vector is made of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError


def read(trunk: str, given: Any, names: Sequence[str]) -> tuple[jax.Array, jax.Array]:
  """The entries (B, L, ...) of an input, an array or a mapping with one of the names, and its mask (B, L), bool.

  Raises:
    UserError: None of the names is there; the mask is not (B, L).
  """
  x, mask = given, None
  if isinstance(given, Mapping):
    name = next((name for name in names if name in given), None)
    if name is None:
      found, expected = ", ".join(map(repr, given)), " or ".join(map(repr, names))
      raise UserError(f"{trunk}: the input has the entries {found}, expected {expected}, with 'mask' for padding.")
    x, mask = given[name], given.get("mask")
  segments = segments_of(trunk, given, x.shape[:2])
  if mask is None:
    return x, jnp.ones(x.shape[:2], bool) if segments is None else segments > 0
  if mask.shape != x.shape[:2]:
    raise UserError(
      f"{trunk}: the mask has shape {mask.shape} and the input {x.shape}, expected {x.shape[:2]}: True where there "
      "is no padding."
    )
  return x, mask.astype(bool)


def segments_of(trunk: str, given: Any, shape: tuple[int, ...]) -> jax.Array | None:
  """Which sequence of a packed row each position belongs to, (B, L), 0 at padding; None: rows are not packed.

  Raises:
    UserError: They are no integers of this shape.
  """
  segments = given.get("segments") if isinstance(given, Mapping) else None
  if segments is None:
    return None
  if segments.shape != shape or not jnp.issubdtype(segments.dtype, jnp.integer):
    raise UserError(
      f"{trunk}: the segments are {segments.dtype}{list(segments.shape)}, expected integers {list(shape)}: 0 at "
      "padding, k at the positions of the k-th sequence of a row."
    )
  return segments


def places(segments: jax.Array) -> jax.Array:
  """The place of each position in its own segment, (B, L) int32, from 0 on.

  >>> places(jnp.asarray([[1, 1, 2, 2, 2, 0]])).tolist()
  [[0, 1, 0, 1, 2, 0]]
  """
  number = jnp.broadcast_to(jnp.arange(segments.shape[1], dtype=jnp.int32)[None], segments.shape)
  begins = jnp.diff(segments, axis=1, prepend=segments[:, :1]) != 0
  return number - jax.lax.cummax(jnp.where(begins, number, 0), axis=1)


def attended(given: Mapping[str, jax.Array]) -> jax.Array:
  """Which positions attend to which, (B, 1, 1 or L, L): to those of the mask, in packed rows of their own segment."""
  mask = given["mask"][:, None, None]
  if "segments" not in given:
    return mask
  segments = given["segments"]
  return mask & (segments[:, None, :, None] == segments[:, None, None, :])


def kept(x: jax.Array, mask: jax.Array) -> jax.Array:
  """The vectors (..., D) where the mask (...) is, zeros elsewhere, whatever stands there."""
  return jnp.where(mask[..., None], x, 0)


def pooled(trunk: str, how: str | None, x: jax.Array, mask: jax.Array, choices: Sequence[str]) -> jax.Array:
  """One vector (B, D) of each sequence (B, L, D): its `"mean"` or `"sum"`, or its `"first"` or `"last"` entry.

  Raises:
    UserError: `how` is none of the choices.
  """
  if how not in choices:
    expected = ", ".join(map(repr, choices))
    raise UserError(f"{trunk}: pool is {how!r}, expected {expected}, or None for one vector per entry.")
  if how == "first":
    return x[:, 0]
  if how == "last":
    number = jnp.where(mask, jnp.arange(x.shape[1])[None], 0).max(axis=1)
    return jnp.take_along_axis(x, number[:, None, None], axis=1)[:, 0]
  total = kept(x, mask).sum(axis=1)
  return total if how == "sum" else total / jnp.maximum(mask.sum(axis=1), 1)[:, None].astype(x.dtype)
