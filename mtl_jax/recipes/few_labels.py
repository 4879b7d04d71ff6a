"""A task with a hundred labels beside two with twenty thousand: the demo. Needs no download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax.adapters import from_linen
from mtl_jax.recipes import _overlay
from mtl_jax.recipes._recipe import Arrays, Parts, Recipe, Splits, adamw_cosine, choose


def few_labels(num_images: int = 20_000, labels: int = 100, share: float = 0.25) -> Recipe:
  """scikit-learn's digits, turned and half covered by another: which it is has been written to a hundred of them alone.

  Whether the digit is odd, and how far it is turned, is known of all images.

  Args:
    num_images: The number of training images.
    labels: How many of them say which digit it is; half as many of those to tune on.
    share: These images are repeated until they are this share of all, so that each batch has some.

  Returns:
    The recipe, with the tasks `digit` and `odd` (accuracy) and `tilt` (degrees).
  """

  def data(seed: int) -> Splits:
    train, valid, test = _overlay.digits(num_images, seed)
    return Splits(_few(train, labels, share), _few(valid, labels // 2), _few(test, 4000))

  def net(names: Sequence[str]) -> Parts:
    trunk = nn.CNN((32, 64), features=256, strides=2, pool=1)
    heads = {name: nn.MLP((32,), out) for name, out in choose({"digit": 10, "odd": 1, "tilt": 1}, names).items()}
    return Parts(from_linen(trunk), {name: from_linen(head) for name, head in heads.items()})

  return Recipe(
    name="few_labels",
    summary="A digit, labelled in 100 images; whether it is odd and how it is turned, in 20,000. Offline.",
    data=data,
    net=net,
    tasks={
      "digit": families.classification("digit", 10, mask="has_digit"),
      "odd": families.binary("odd").judged_by("accuracy"),
      "tilt": _overlay.tasks()["tilt"],
    },
    optimizer=adamw_cosine,
    learning_rate=5e-3,
    steps=600,
    batch_size=128,
    eval_every=60,
  )


def _few(pairs: Arrays, count: int, share: float = 0.0) -> Arrays:
  """The right digit's tasks, `digit` in the first `count` images alone, which are repeated to be a share of all."""
  rest = np.arange(count, len(pairs["right"]))
  first = np.resize(np.arange(count), max(count, int(len(rest) * share / (1 - share))))
  rows = np.concatenate([first, rest])
  digit, there = pairs["right"][rows], (rows < count).astype(np.float32)
  digit = np.where(there > 0, digit, -1)
  return {
    "x": pairs["x"][rows],
    "digit": digit,
    "has_digit": there,
    "odd": pairs["right"][rows] % 2,
    "tilt": pairs["tilt"][rows],
  }
