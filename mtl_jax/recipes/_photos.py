"""Recipes of images: users' photographs as their input, JSON lines and pictures of what is predicted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from mtl_jax.analysis import pictures
from mtl_jax.data import photos as _photos
from mtl_jax.recipes._lines import refuse_labels, write_lines
from mtl_jax.recipes._recipe import Arrays, Files, Predicted


def photos(size: tuple[int, int], channels: int = 3, key: str = "x") -> Files:
  """How a recipe of images reads folders of photographs.

  Args:
    size: Height and width of the images trained on.
    channels: 1 or 3.
    key: Their key in the batch, where they are uint8.

  Returns:
    For `Recipe.files`.
  """

  def read(path: Path, tasks: Sequence[str], warn: Callable[[str], None] | None = None) -> tuple[Arrays, list[str]]:
    refuse_labels(path, tasks, "images have")
    images, names = _photos.read(path, size, channels, warn)
    return {key: images}, names

  return Files(read, write_lines, ".jsonl", functools.partial(show, key=key), read)


def show(path: Path, predicted: Predicted, key: str = "x") -> None:
  """Draws a picture of images and what is predicted of them.

  Args:
    path: The PNG to write.
    predicted: The examples.
    key: That of the images.
  """
  pictures.predictions(path, predicted.arrays[key], predicted.names, predicted.tasks, predicted.outputs)
