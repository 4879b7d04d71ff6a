"""Lists of objects in images as arrays of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError


def pad_objects(boxes: Sequence[Any], classes: Sequence[Any], most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
  """The boxes and classes of the objects in each image as arrays, padded to the same number of objects.

  Args:
    boxes: For each image its boxes (n, 4), as (x0, y0, x1, y1) in fractions of width and height; n may be 0.
    classes: For each image the classes (n,) of its objects, integers of at least 0.
    most: The number K of objects that an image has room for; None: as many as the image with most has, at least 1.

  Returns:
    Boxes (N, K, 4) float32, and classes (N, K) int32, -1 where there is no object.

  Raises:
    UserError: An image has more than `most` objects, or not as many boxes as classes.

  >>> boxes, classes = pad_objects([[[0.0, 0.0, 0.5, 0.5]], []], [[2], []])
  >>> boxes.shape, classes.tolist()
  ((2, 1, 4), [[2], [-1]])
  """
  if len(boxes) != len(classes):
    raise UserError(f"pad_objects: boxes of {len(boxes)} images, but classes of {len(classes)}.")
  size = max([1, *map(len, classes)]) if most is None else most
  sides, kinds = np.zeros((len(boxes), size, 4), np.float32), np.full((len(boxes), size), -1, np.int32)
  for i, (own, of_own) in enumerate(zip(boxes, classes, strict=True)):
    found = np.reshape(np.asarray(own, np.float32), (-1, 4)) if np.size(own) % 4 == 0 else np.asarray(own)
    if len(found) != len(of_own) or found.shape[1:] != (4,):
      raise UserError(f"pad_objects: image {i} has boxes {np.shape(own)} and {len(of_own)} classes, expected (n, 4).")
    if len(found) > size:
      raise UserError(f"pad_objects: image {i} has {len(found)} objects, expected at most {size}: raise most.")
    sides[i, : len(found)], kinds[i, : len(found)] = found, of_own
  return sides, kinds
