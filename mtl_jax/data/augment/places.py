"""Entries that are places in the image."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError
from mtl_jax.data.augment.transform import Kind, Windows


def boxes(classes: str, *, least: float = 0.25) -> Kind:
  """Boxes (B, K, 4), left, upper, right and lower edge as fractions of width and height; cut off at the image's edges.

  Args:
    classes: The key of their classes, (B, K) integers, -1 at padding.
    least: A box of which less than this share is left gets the class -1.

  Returns:
    The kind.

  Raises:
    UserError: `least` is no share.
  """
  if not 0 <= least <= 1:
    raise UserError(f"boxes of {classes!r}: least is {least}, expected a share in [0, 1].")

  def move(windows: Windows, values: jax.Array, own: jax.Array) -> tuple[jax.Array, jax.Array]:
    if values.ndim != 3 or values.shape[-1] != 4 or not jnp.issubdtype(values.dtype, jnp.floating):
      raise UserError(f"is {values.dtype} {values.shape}, expected boxes (B, K, 4) of floats.")
    if own.shape != values.shape[:2] or not jnp.issubdtype(own.dtype, jnp.signedinteger):
      raise UserError(
        f"has classes {classes!r} of {own.dtype} {own.shape}, expected {values.shape[:2]} of signed integers."
      )
    corners = _seen(values.reshape(*values.shape[:2], 2, 2), windows)
    start, end = corners.min(axis=2), corners.max(axis=2)
    whole, cut = _area(start, end), (jnp.clip(start, 0, 1), jnp.clip(end, 0, 1))
    left = _area(*cut)
    is_left = (left > 0) & (left >= least * whole)
    return jnp.concatenate(cut, axis=-1), jnp.where(is_left, own, jnp.array(-1, own.dtype))

  return Kind(move, (classes,))


def points(visible: str, *, mirrored: Sequence[int] | None = None) -> Kind:
  """Points (B, ..., K, 2), across and down as fractions of width and height.

  Args:
    visible: The key of the entry (B, ..., K) that tells which are there; it becomes 0 for those outside of the image.
    mirrored: The number of the point that each becomes in a mirror, (K,), such as (1, 0) for a left and a right eye;
      None: each stays what it is.

  Returns:
    The kind.

  Raises:
    UserError: `mirrored` does not lead back when it is applied twice.
  """
  numbers = range(len(mirrored or ()))
  if mirrored is not None and any(i not in numbers or mirrored[i] != j for j, i in enumerate(mirrored)):
    raise UserError(
      f"points of {visible!r}: mirrored is {tuple(mirrored)}, expected numbers from 0 by which each point, mirrored "
      "twice, is itself again."
    )

  def move(windows: Windows, values: jax.Array, seen: jax.Array) -> tuple[jax.Array, jax.Array]:
    if values.ndim < 3 or values.shape[-1] != 2 or not jnp.issubdtype(values.dtype, jnp.floating):
      raise UserError(f"is {values.dtype} {values.shape}, expected points (B, ..., K, 2) of floats.")
    if seen.shape != values.shape[:-1]:
      raise UserError(f"has {visible!r} of shape {seen.shape}, expected {values.shape[:-1]}.")
    found = _seen(values, windows)
    seen = jnp.where(((found >= 0) & (found <= 1)).all(axis=-1), seen, jnp.zeros((), seen.dtype))
    if mirrored is None:
      return found, seen
    if len(mirrored) != seen.shape[-1]:
      raise UserError(f"has {seen.shape[-1]} points, expected {len(mirrored)}, as many as mirrored has.")
    order = jnp.array(mirrored)
    is_mirrored = jnp.prod(windows[:, 2:] - windows[:, :2], axis=1) < 0  # flipped twice is turned
    return (
      jnp.where(behind(is_mirrored, found.ndim), found[..., order, :], found),
      jnp.where(behind(is_mirrored, seen.ndim), seen[..., order], seen),
    )

  return Kind(move, (visible,))


def _seen(places: jax.Array, windows: Windows) -> jax.Array:
  """Where places (B, ..., 2) of an image are in what the windows show of it."""
  shape = (len(windows), *(1,) * (places.ndim - 2), 2)
  start, end = (edges.astype(places.dtype).reshape(shape) for edges in (windows[:, :2], windows[:, 2:]))
  return (places - start) / (end - start)


def _area(start: jax.Array, end: jax.Array) -> jax.Array:
  return jnp.prod(end - start, axis=-1)
