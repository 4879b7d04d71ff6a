"""Blood cells, read by pretrained towers that attend to each other: a class and a number of every photograph."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax.adapters import from_linen
from mtl_jax.arch import task_attention
from mtl_jax.data import augment, source
from mtl_jax.recipes import _imagenet
from mtl_jax.recipes._photos import photos
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose

STAGES, TUNED = 6, 2
"""Of the network's stages the first six are used, which keep a map of features, since cells are small; each task has a
copy of the last two of them. Of a pretrained trunk these alone are trained."""


def attention_transfer(pretrained: bool = True, height: int = 192) -> Recipe:
  """Whether there are platelets in a photograph, and how many red cells, from 205 photographs to learn from.

  Args:
    pretrained: Whether the trunk begins with ImageNet weights (`mtl.transfer.efficientnet_lite0`), or at random.
    height: That of the images for the trunk, in pixels, at most 192; more is better and slower.

  Returns:
    The recipe, with the tasks `platelets` (accuracy) and `red_cells` (mean absolute error), joined by
    `mtl.arch.task_attention`; `data` takes the photographs as `mtl.data.source.bccd()` does.
  """

  def labelled(arrays):
    kinds = arrays["kinds"]
    counts = {"platelets": (kinds == 2).any(axis=1), "red_cells": (kinds == 0).sum(axis=1).astype(np.float32)}
    return {"x": arrays["x"], **counts}

  def net(names: Sequence[str]) -> Parts:
    heads = {name: from_linen(nn.ImageHead(1)) for name in choose(dict.fromkeys(("platelets", "red_cells")), names)}
    return Parts(_imagenet.trunk(pretrained, (height, height * 4 // 3), TUNED, STAGES), heads)

  return Recipe(
    name="attention_transfer",
    summary="Blood cells in photographs: a class and a count, by pretrained towers that attend to each other.",
    expected="364 photographs; BCCD from MTL_JAX_DATA; accuracy 0.74, counts off by 2.9, one seed, 6 minutes.",
    data=lambda seed: Splits(*map(labelled, source.bccd().values())),
    net=net,
    arch=functools.partial(task_attention, shared_stages=STAGES + 2 - TUNED),
    tasks={
      "platelets": families.binary("platelets").judged_by("accuracy"),
      "red_cells": families.regression("red_cells", mean=11.6, std=5.0).judged_by("mae"),
    },
    optimizer=adamw_cosine,
    learning_rate=1e-3,
    steps=200,
    batch_size=16,
    eval_every=50,
    files=photos((192, 256)),
    transform=augment.transform({"x": augment.image()}, augment.flip(), augment.flip(vertical=True)),
  )
