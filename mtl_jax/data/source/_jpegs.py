"""Images that lie in one array as JPEG files, one behind the other."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from mtl_jax._core.errors import UserError, reason
from mtl_jax._core.extras import extra

_DAMAGED = "{path}: image {number} cannot be read: {reason}."


def decoded(path: Path, data: np.ndarray, offsets: np.ndarray, damaged: str = _DAMAGED) -> np.ndarray:
  """The images.

  Args:
    path: The file they are from, for messages.
    data: (bytes,) uint8.
    offsets: (N + 1,), image i is `data[offsets[i] : offsets[i + 1]]`.
    damaged: What is said of an image that cannot be read, with the fields `path`, `number` and `reason`.

  Returns:
    (N, H, W, 3) uint8.

  Raises:
    UserError: An image cannot be read, or has another size than the first; Pillow is not installed.
  """
  with extra("images", "images need Pillow"):
    from PIL import Image
  found = []
  for i, (start, end) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
    try:
      with Image.open(io.BytesIO(data[start:end].tobytes())) as image:
        found.append(np.asarray(image.convert("RGB")))
    except Exception as error:  # whatever the decoders make of damaged files
      raise UserError(damaged.format(path=path, number=i, reason=reason(error))) from error
    if found[i].shape != found[0].shape:
      raise UserError(f"{path}: image {i} has shape {found[i].shape}, expected {found[0].shape} as the first.")
  return np.stack(found)
