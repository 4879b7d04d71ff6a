"""Photographs of users' own: files and folders of them as arrays of one size.

- `read`: all images of a folder, or one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError, reason
from mtl_jax._core.extras import extra
from mtl_jax.data._files import Kind, read_each

__all__ = ["read"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
"""Of the files that count as images in a folder."""

_KIND = Kind(SUFFIXES, "images", "give a folder of png or jpg files", "read")
_MODES = {1: "L", 3: "RGB"}


def read(
  path: str | Path, size: tuple[int, int], channels: int = 3, warn: Callable[[str], None] | None = None
) -> tuple[np.ndarray, list[str]]:
  """The images of a folder and of the folders in it, in the order of their names, or those of one file.

  Grey images, palettes and 16 bits become what is asked for; transparent parts become white; a camera's note on which
  side is up is heeded. Images of another shape are stretched.

  Args:
    path: A folder, or an image.
    size: Height and width in pixels.
    channels: 1 or 3.
    warn: Is told of each image that cannot be read, which is then left out; None: that is an error.

  Returns:
    The images, (N, H, W, channels) uint8, and their names, relative to the folder.

  Raises:
    UserError: There is nothing there, or no image; an image cannot be read; Pillow is not installed.

  >>> import tempfile
  >>> from PIL import Image
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   Image.new("L", (9, 4), 255).save(f"{folder}/a.png")
  ...   images, names = read(folder, (2, 3))
  >>> images.shape, int(images.max()), names
  ((1, 2, 3, 3), 255, ['a.png'])
  """
  found = read_each(path, _KIND, lambda file: _pixels(file, size, channels), warn)
  return np.stack(list(found.values())), list(found)


def _pixels(file: Path, size: tuple[int, int], channels: int) -> np.ndarray:
  with extra("images", "images need Pillow"):
    from PIL import Image, ImageOps
  try:
    with Image.open(file) as opened:
      image = ImageOps.exif_transpose(opened)
      if image.mode.startswith(("I", "F")):  # 16 bits and more, which Pillow would cut off at 255
        image = Image.fromarray(_eight_bits(image))
      if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
      image = image.convert(_MODES[channels]).resize((size[1], size[0]), Image.Resampling.BILINEAR)
  except Image.DecompressionBombError as error:
    raise UserError(f"cannot read {file}: it is far larger than a photograph.") from error
  except Exception as error:  # whatever the decoders make of damaged files
    raise UserError(f"cannot read {file} as an image: {reason(error).rstrip('.')}.") from error
  return np.asarray(image, np.uint8).reshape(*size, channels)


def _eight_bits(image: Any) -> np.ndarray:
  """The grey values of an image of 16 bits, or of floats in [0, 1], in 8 bits."""
  values = np.asarray(image, np.float64)
  scale = 255 if image.mode == "F" else 255 / 65535
  return np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
