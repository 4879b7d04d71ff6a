"""Two digits in one image: what to read left, what right, and how far the right one is turned."""

from __future__ import annotations

import numpy as np

from mtl_jax import tasks as families
from mtl_jax.data import parts, source
from mtl_jax.recipes._recipe import Arrays

MAX_TILT = 45.0


def tasks() -> dict[str, families.Task]:
  """`left` and `right`, the digits, and `tilt`, the angle of the right digit in degrees."""
  return {
    "left": families.classification(label="left", num_classes=10),
    "right": families.classification(label="right", num_classes=10),
    # The standard deviation of a uniform angle, so that the network's output has unit scale.
    "tilt": families.regression(label="tilt", std=MAX_TILT / 3**0.5),
  }


def digits(num_pairs: int, seed: int) -> tuple[Arrays, Arrays, Arrays]:
  """Pairs of scikit-learn's digits on a 12 x 12 canvas: `num_pairs` to train, 2000 to tune and 4000 to test on."""
  images = source.digits()
  rng = np.random.default_rng(seed)
  # Pairs are drawn within a part, so no handwriting seen in training is tested on, whatever the seeds.
  train, valid, test = parts(len(images["y"]), (0.7, 0.1, 0.2), stratify=images["y"])

  def drawn(part: np.ndarray, count: int) -> Arrays:
    return pairs(images["x"][part], images["y"][part], count, shift=4, rng=rng)

  return drawn(train, num_pairs), drawn(valid, 2000), drawn(test, 4000)


def pairs(images: np.ndarray, labels: np.ndarray, count: int, shift: int, rng: np.random.Generator) -> Arrays:
  """`count` images of two random digits, one at the top left and one, turned, at the bottom right.

  Args:
    images: Digits, (M, S, S) in [0, 1].
    labels: Their classes, (M,).
    count: N.
    shift: How many pixels the right digit lies below and to the right of the left one.
    rng: Draws digits and angles.

  Returns:
    `x` (N, S + shift, S + shift, 1) float32 in [0, 1], `left` and `right` (N,) int32, `tilt` (N,) float32, degrees,
    counter-clockwise positive, uniform in [-45, 45).
  """
  left, right = rng.integers(len(images), size=(2, count))
  tilt = rng.uniform(-MAX_TILT, MAX_TILT, count).astype(np.float32)
  side = images.shape[1] + shift
  x = np.zeros((count, side, side, 1), np.float32)
  # In blocks, since turning takes several times the memory of its images.
  for rows in np.array_split(np.arange(count), -(-count // 4096)):
    x[rows, :-shift, :-shift, 0] = images[left[rows]]
    corner = x[rows, shift:, shift:, 0]
    x[rows, shift:, shift:, 0] = np.maximum(corner, rotate(images[right[rows]], tilt[rows]))
  return {"x": x, "left": labels[left].astype(np.int32), "right": labels[right].astype(np.int32), "tilt": tilt}


def rotate(images: np.ndarray, degrees: np.ndarray) -> np.ndarray:
  """Each image (N, S, S) turned counter-clockwise by its own angle (N,) about its centre, bilinearly; 0 outside."""
  side = images.shape[1]
  centred = np.arange(side, dtype=np.float32) - (side - 1) / 2
  cos, sin = (f(np.deg2rad(degrees)).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
  down, across = centred[None, :, None], centred[None, None, :]
  # Where each output pixel comes from, in images with one pixel of zeros around them (and one more at the far ends).
  row = np.clip(cos * down + sin * across + (side + 1) / 2, 0, side + 1)
  column = np.clip(cos * across - sin * down + (side + 1) / 2, 0, side + 1)
  padded, width = np.pad(images, ((0, 0), (1, 2), (1, 2))), side + 3
  top, start = np.floor(row), np.floor(column)
  corner = (np.arange(len(images))[:, None, None] * width + top.astype(int)) * width + start.astype(int)
  upper, upper_next, lower, lower_next = (np.take(padded, corner + i) for i in (0, 1, width, width + 1))
  upper += (upper_next - upper) * (column - start)
  lower += (lower_next - lower) * (column - start)
  return upper + (lower - upper) * (row - top)
