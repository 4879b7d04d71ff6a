"""Digits of several sizes on a canvas: what is where, and how many there are."""

from __future__ import annotations

import numpy as np

from mtl_jax.data import pad_objects, parts, source
from mtl_jax.recipes._recipe import Arrays

SIDE, MOST = 64, 4
_SIDES = range(12, 25)
_TRIES, _COVERED = 20, 0.1


def digits(num_images: int, seed: int) -> tuple[Arrays, Arrays, Arrays]:
  """Canvases of scikit-learn's digits: `num_images` to train, 500 to tune and 1000 to test on."""
  images = source.digits()
  rng = np.random.default_rng(seed)
  # Canvases are drawn within a part, so no handwriting seen in training is tested on, whatever the seeds.
  of_parts = parts(len(images["y"]), (0.7, 0.1, 0.2), stratify=images["y"])
  counts = (num_images, 500, 1000)
  train, valid, test = (
    canvases(images["x"][part], images["y"][part], count, rng) for part, count in zip(of_parts, counts, strict=True)
  )
  return train, valid, test


def canvases(images: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> Arrays:
  """Images with one to four digits of 12 to 24 pixels that hardly cover each other.

  Args:
    images: Digits, (M, S, S) in [0, 1].
    labels: Their classes, (M,).
    count: N.
    rng: Draws digits, sizes and places.

  Returns:
    `x` (N, 64, 64, 1) uint8; `boxes` (N, 4, 4), tight around what is drawn, and `kinds` (N, 4), as
    `mtl.tasks.detection` takes them.
  """
  x, boxes, kinds = np.zeros((count, SIDE, SIDE, 1), np.uint8), [], []
  resized = {side: _interpolation(images.shape[1], side) for side in _SIDES}
  for canvas in x:
    own, of_own = np.zeros((0, 4), int), []
    for number in rng.integers(len(images), size=rng.integers(1, MOST + 1)):
      side = int(rng.integers(_SIDES.start, _SIDES.stop))
      drawn = np.rint(255 * (resized[side] @ images[number] @ resized[side].T)).astype(np.uint8)
      corners = rng.integers(0, SIDE - side + 1, size=(_TRIES, 2))
      places = _ink(drawn) + np.tile(corners, 2)
      free = np.flatnonzero(_covered(places, own) <= _COVERED)
      if free.size:
        left, top = corners[free[0]]
        under = canvas[top : top + side, left : left + side, 0]
        np.maximum(under, drawn, out=under)
        own = np.concatenate([own, places[free[:1]]])
        of_own.append(labels[number])
    boxes.append(own / SIDE)
    kinds.append(of_own)
  padded, classes = pad_objects(boxes, kinds, MOST)
  return {"x": x, "boxes": padded, "kinds": classes}


def _covered(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
  """The greatest share of each box that one of the others covers, in pixels."""
  one, other = boxes[:, None], others[None]
  inner = np.maximum(np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2]), 0)
  return (inner.prod(axis=-1) / (one[..., 2:] - one[..., :2]).prod(axis=-1)).max(axis=1, initial=0)


def _ink(image: np.ndarray) -> np.ndarray:
  """The box (x0, y0, x1, y1) in pixels around all that is brighter than a quarter."""
  rows, columns = np.nonzero(image > 63)
  return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def _interpolation(old: int, new: int) -> np.ndarray:
  """The matrix (new, old) that resizes linearly."""
  place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
  return np.maximum(1 - np.abs(place[:, None] - np.arange(old)), 0)
