"""Entries that have a value at every pixel."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.augment._resample import bilinear, closest
from mtl_jax.data.augment.transform import Kind, Windows


def image(fill: float = 0.0) -> Kind:
  """Images (B, H, W, C), uint8 or floats in [0, 1], which they become; between pixels they are interpolated.

  Args:
    fill: The value outside of the image, in [0, 1].

  Returns:
    The kind.
  """

  def move(windows: Windows, values: jax.Array) -> tuple[jax.Array]:
    _expect(values, "images (B, H, W, C) of uint8 or floats", 4, (np.uint8, jnp.floating))
    if values.dtype == jnp.uint8:
      values = values.astype(jnp.float32) / 255
    return (bilinear(values, windows, fill),)

  return Kind(move, is_seen=True)


def classes(ignore: int = -1) -> Kind:
  """Maps of classes or marks, (B, H, W), integers or booleans; each pixel takes the value that is nearest.

  Args:
    ignore: The value outside of the image: a class that does not count, or 0 for a mask.

  Returns:
    The kind.
  """

  def move(windows: Windows, values: jax.Array) -> tuple[jax.Array]:
    _expect(values, "maps (B, H, W) of integers or booleans", 3, (jnp.integer, jnp.bool_))
    if values.dtype != jnp.bool_ and not np.iinfo(values.dtype).min <= ignore <= np.iinfo(values.dtype).max:
      raise UserError(f"has dtype {values.dtype}, which has no {ignore}: store another dtype, or give another ignore=.")
    return (closest(values, windows, ignore),)

  return Kind(move)


def depth(missing: float = 0.0, *, scaled: bool = True) -> Kind:
  """Maps of depth, (B, H, W) floats; each pixel takes the value that is nearest.

  Values are not interpolated: between a thing and what is behind it there is nothing.

  Args:
    missing: The value where depth is not known, as outside of the image.
    scaled: Depth is divided by the zoom, since what is twice as large in the image is half as far; False: it stays.

  Returns:
    The kind.
  """

  def move(windows: Windows, values: jax.Array) -> tuple[jax.Array]:
    _expect(values, "maps (B, H, W) of floats", 3, (jnp.floating,))
    found = closest(values, windows, missing)
    if not scaled:
      return (found,)
    sides = jnp.abs(windows[:, 2:] - windows[:, :2])
    side = jnp.sqrt(sides[:, 0] * sides[:, 1]).astype(values.dtype)
    return (jnp.where(found == missing, found, found * side.reshape(-1, 1, 1)),)

  return Kind(move)


def normals() -> Kind:
  """Maps of normal vectors, (B, H, W, 3) floats; each pixel takes the vector that is nearest.

  The first component points along the image's width and changes its sign as images are flipped, the second along its
  height. Outside of the image is the zero vector, which is how normals are marked as missing.

  Returns:
    The kind.
  """

  def move(windows: Windows, values: jax.Array) -> tuple[jax.Array]:
    _expect(values, "maps (B, H, W, 3) of floats", 4, (jnp.floating,), last=3)
    sign = jnp.pad(jnp.sign(windows[:, 2:] - windows[:, :2]), ((0, 0), (0, 1)), constant_values=1)
    return (closest(values, windows, 0) * sign.astype(values.dtype).reshape(-1, 1, 1, 3),)

  return Kind(move)


def _expect(values: jax.Array, what: str, ndim: int, dtypes: tuple[Any, ...], last: int | None = None) -> None:
  fits = values.ndim == ndim and last in (None, values.shape[-1])
  if not fits or not any(jnp.issubdtype(values.dtype, dtype) for dtype in dtypes):
    raise UserError(f"is {values.dtype} {values.shape}, expected {what}.")
