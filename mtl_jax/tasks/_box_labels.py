"""Checks of boxes and their classes, before training starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _labels


def check(
  name: str, arrays: Mapping[str, Any], label: str, boxes: str, num_classes: int, mask: str | None, weight: str | None
) -> None:
  """Refuses classes out of range, and boxes that are inverted, empty, or outside of the image.

  Args:
    name: The task, for messages.
    arrays: The whole data set.
    label: The key of the classes, (N, K), -1 for padding.
    boxes: The key of the boxes, (N, K, 4).
    num_classes: The classes are in [0, num_classes).
    mask: The key of the images' mask, or None.
    weight: The key of their weights, or None.

  Raises:
    UserError: They cannot be used.
  """
  for key in (label, boxes):
    _labels.read(arrays, key, f"label of task {name!r}")
  shape = np.shape(arrays[label])
  if len(shape) != 2 or np.shape(arrays[boxes]) != (*shape, 4):
    raise UserError(
      f"task {name!r}: label {label!r} has shape {shape} and {boxes!r} {np.shape(arrays[boxes])}, expected (N, K) and "
      "(N, K, 4): mtl.data.pad_objects makes them of lists."
    )
  kinds, counted = _labels.labels_of(name, arrays, label, mask, weight, shape[1:])
  if not np.issubdtype(kinds.dtype, np.integer):
    raise UserError(f"task {name!r}: label {label!r} has dtype {kinds.dtype}, expected integers: classes.astype(int).")
  wrong = counted & ((kinds < -1) | (kinds >= num_classes))
  if wrong.any():
    raise UserError(
      f"task {name!r}: label {label!r} holds class {kinds[wrong][0]} in example {first_example(wrong)}, expected "
      f"[0, {num_classes - 1}], or -1 for padding."
    )
  sides = np.asarray(arrays[boxes])
  there = counted & (kinds >= 0)
  size = sides[..., 2:] - sides[..., :2]
  outside = "expected within [0, 1]: divide by the image's width and height, and clip"
  for wrong, what, advice in (
    (~np.isfinite(sides).all(-1), "that is not finite", "expected four numbers in [0, 1]"),
    ((sides < 0).any(-1) | (sides > 1).any(-1), "outside of the image", outside),
    ((size <= 0).any(-1), "without area", "expected x0 < x1 and y0 < y1: exchange the corners or drop it"),
  ):
    if (wrong & there).any():
      example, item = np.argwhere(wrong & there)[0]
      found = ", ".join(f"{side:.4g}" for side in sides[example, item])
      raise UserError(
        f"task {name!r}: {boxes!r} has a box {what} in example {example}, box {item}: ({found}), {advice}."
      )
