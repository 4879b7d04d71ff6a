"""MultiMNIST: two MNIST digits in one image, and how far the right one is turned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtl_jax import nn
from mtl_jax.adapters import from_linen
from mtl_jax.data import parts, source
from mtl_jax.recipes import _overlay
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose


def multimnist(num_pairs: int = 60_000) -> Recipe:
  """MNIST digits in pairs on a 36 x 36 canvas, the right one 8 pixels below and to the right of the left one.

  Deviations from the paper: the canvas keeps its 36 pixels instead of being scaled to 28; digits of the same class
  may meet; the right digit is turned, for the third task.

  Args:
    num_pairs: The number of training images.

  Returns:
    The recipe, with the tasks `left` and `right` (accuracy) and `tilt` (degrees). `data` takes MNIST as
    `mtl.data.source.mnist()` does.

  References:
    Sener and Koltun, *Multi-Task Learning as Multi-Objective Optimization*, 2018.
    Sabour et al., *Dynamic Routing Between Capsules*, 2017.
  """

  def data(seed: int) -> Splits:
    mnist = source.mnist()
    rng = np.random.default_rng(seed)

    def pairs(x, y, count):
      return _overlay.pairs(x.astype(np.float32) / 255, y, count, shift=8, rng=rng)

    train, valid = parts(len(mnist["train_y"]), (5 / 6, 1 / 6), stratify=mnist["train_y"])
    return Splits(
      pairs(mnist["train_x"][train], mnist["train_y"][train], num_pairs),
      pairs(mnist["train_x"][valid], mnist["train_y"][valid], 5000),
      pairs(mnist["test_x"], mnist["test_y"], 10_000),
    )

  def net(names: Sequence[str]) -> Parts:
    trunk = nn.CNN((16, 32, 64), features=256, strides=2, pool=1)
    outs = {"left": 10, "right": 10, "tilt": 1}
    heads = {name: nn.MLP((64,), out) for name, out in choose(outs, names).items()}
    return Parts(from_linen(trunk), {n: from_linen(head) for n, head in heads.items()})

  return Recipe(
    name="multimnist",
    summary="Two overlaid MNIST digits: read both, tell how far the right one is turned. Minutes to train.",
    expected="60,000 images; MNIST from MTL_JAX_DATA or TensorFlow Datasets.",
    data=data,
    net=net,
    tasks=_overlay.tasks(),
    optimizer=adamw_cosine,
    learning_rate=5e-3,
    steps=2000,
    batch_size=128,
    eval_every=500,
  )
