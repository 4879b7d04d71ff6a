"""Sequences and sets of different lengths, padded to one: how they are read, and how one vector is made of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.segments import columns, starts


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


def opened(trunk: str, given: Any, names: Sequence[str]) -> tuple[jax.Array, dict[str, jax.Array]]:
  """The entries (B, L, ...) of an input, and what goes on with features of them: its mask, of packed rows its segments.

  Both say the same of padding: a position counts where the mask has it, and it is in a segment.

  Raises:
    UserError: As in `read` and `segments_of`.
  """
  x, mask = read(trunk, given, names)
  segments = segments_of(trunk, given, x.shape[:2])
  if segments is None:
    return x, {"mask": mask}
  mask = mask & (segments > 0)
  return x, {"mask": mask, "segments": jnp.where(mask, segments, 0).astype(jnp.int32)}


def packed(trunk: str, given: Any, names: Sequence[str]) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The entries (B, L, ...) of an input, its mask (B, L), bool, and its segments (B, L), int32, 0 at padding.

  Without segments each row is one sequence.

  Raises:
    UserError: As in `opened`.
  """
  x, beside = opened(trunk, given, names)
  return x, beside["mask"], beside.get("segments", beside["mask"].astype(jnp.int32))


def check_entries(trunk: str, x: jax.Array, vocabulary: int | None) -> None:
  """Refuses what is no vectors (B, L, D), or with a vocabulary no tokens (B, L)."""
  if vocabulary is None and (x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating)):
    raise UserError(
      f"{trunk}: the input is {x.dtype}{list(x.shape)}, expected vectors (B, L, D): for tokens (B, L), say how many "
      "there are, vocabulary=."
    )
  if vocabulary is not None and (x.ndim != 2 or not jnp.issubdtype(x.dtype, jnp.integer)):
    raise UserError(
      f"{trunk}: the input is {x.dtype}{list(x.shape)}, expected tokens (B, L): vocabulary=None takes vectors."
    )


def places(segments: jax.Array) -> jax.Array:
  """The place of each position in its own segment, (B, L) int32, from 0 on.

  >>> places(jnp.asarray([[1, 1, 2, 2, 2, 0]])).tolist()
  [[0, 1, 0, 1, 2, 0]]
  """
  return columns(segments) - starts(segments)


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


def whole_or_pooled(trunk: str, how: str | None, given: Mapping[str, jax.Array], choices: Sequence[str]) -> Any:
  """The features of sequences as they are, with zeros at padding, where `how` is None, else one vector of each.

  Args:
    trunk: For messages.
    how: As in `pooled`.
    given: `{"x": (B, L, D), "mask": (B, L)}`, of packed rows with their `"segments"`.
    choices: As in `pooled`.

  Raises:
    UserError: `how` is none of the choices, or rows are packed, which have no one vector.
  """
  if how is None:
    return {**given, "x": kept(given["x"], given["mask"])}
  if "segments" in given:
    raise UserError(f"{trunk}: pool is {how!r}, and rows are packed: take pool=None, SegmentPool.")
  return pooled(trunk, how, given["x"], given["mask"], choices)
