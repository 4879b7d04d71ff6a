"""Digits of several sizes on a canvas: what is where, and how many there are."""

from __future__ import annotations

import numpy as np

from mtl_jax.data import parts, pad_objects, source
from mtl_jax.recipes._recipe import Arrays

SIDE, MOST = 64, 4
_SIZES = range(12, 25)
_TRIES = 20


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
  turns = {size: _interpolation(images.shape[1], size) for size in _SIZES}
  for canvas in x:
    own: list[np.ndarray] = []
    of_own: list[int] = []
    for number in rng.integers(len(images), size=rng.integers(1, MOST + 1)):
      turn = turns[int(rng.integers(_SIZES.start, _SIZES.stop))]
      drawn = np.rint(255 * (turn @ images[number] @ turn.T)).astype(np.uint8)
      box = _place(_ink(drawn), len(drawn), own, rng)
      if box is not None:
        corner, tight = box
        part = canvas[corner[1] : corner[1] + len(drawn), corner[0] : corner[0] + len(drawn), 0]
        np.maximum(part, drawn, out=part)
        own.append(tight)
        of_own.append(int(labels[number]))
    boxes.append(np.array(own) / SIDE)
    kinds.append(of_own)
  padded, classes = pad_objects(boxes, kinds, MOST)
  return {"x": x, "boxes": padded, "kinds": classes}


def _place(ink: np.ndarray, side: int, others: list[np.ndarray], rng: np.random.Generator):
  """A corner for a square of that side, and the box of its ink there, which others hardly meet; None: not found."""
  for _ in range(_TRIES):
    corner = rng.integers(0, SIDE - side + 1, size=2)
    box = ink + np.tile(corner, 2)
    inner = [np.prod(np.maximum(np.minimum(box[2:], o[2:]) - np.maximum(box[:2], o[:2]), 0)) for o in others]
    if all(area <= 0.1 * np.prod(box[2:] - box[:2]) for area in inner):
      return corner, box
  return None


def _ink(image: np.ndarray) -> np.ndarray:
  """The box (x0, y0, x1, y1) in pixels around all that is brighter than a quarter."""
  rows, columns = np.nonzero(image > 63)
  return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def _interpolation(old: int, new: int) -> np.ndarray:
  """The matrix (new, old) that resizes linearly."""
  place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
  return np.maximum(1 - np.abs(place[:, None] - np.arange(old)), 0)
