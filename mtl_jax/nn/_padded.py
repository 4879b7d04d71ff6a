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
  if mask is None:
    return x, jnp.ones(x.shape[:2], bool)
  if mask.shape != x.shape[:2]:
    raise UserError(
      f"{trunk}: the mask has shape {mask.shape} and the input {x.shape}, expected {x.shape[:2]}: True where there "
      "is no padding."
    )
  return x, mask.astype(bool)


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
