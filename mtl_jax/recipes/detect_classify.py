"""Objects in images, and what can be said of the image as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.data import source
from mtl_jax.recipes import _canvas
from mtl_jax.recipes._photos import photos
from mtl_jax.recipes._recipe import Arrays, Parts, Recipe, Splits, adamw_cosine, choose

class _Set(NamedTuple):
  """What differs between the data sets."""

  classes: tuple[str, ...]
  tasks: dict[str, families.Task]
  size: tuple[int, int, int]
  stages: tuple[int, ...]
  width: int
  learning_rate: float
  steps: int
  batch_size: int
