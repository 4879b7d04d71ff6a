"""Two small handwritten digits in one image: read both and tell how far the right one is turned. Needs no download."""

from __future__ import annotations

from collections.abc import Sequence

from mtl_jax import nn
from mtl_jax.adapters import from_linen
from mtl_jax.recipes import _overlay
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose


def digits(num_pairs: int = 20_000) -> Recipe:
  """scikit-learn's 8 x 8 digits in pairs on a 12 x 12 canvas, in the manner of MultiMNIST.

  Args:
    num_pairs: The number of training images.

  Returns:
    The recipe, with the tasks `left` and `right` (accuracy) and `tilt` (degrees).
  """

  def data(seed: int) -> Splits:
    return Splits(*_overlay.digits(num_pairs, seed))

  def net(names: Sequence[str]) -> Parts:
    trunk = nn.CNN((32, 64), features=256, strides=2, pool=1)
    outs = {"left": 10, "right": 10, "tilt": 1}
    heads = {name: nn.MLP((32,), out) for name, out in choose(outs, names).items()}
    return Parts(from_linen(trunk), {n: from_linen(head) for n, head in heads.items()})

  return Recipe(
    name="digits",
    summary="Two overlaid 8x8 digits: read both, tell how far the right one is turned. Offline, seconds to train.",
    expected="20,000 images; accuracies of 0.98 and 0.97, and an R² of the tilt of 0.98.",
    data=data,
    net=net,
    tasks=_overlay.tasks(),
    optimizer=adamw_cosine,
    learning_rate=5e-3,
    steps=1000,
    batch_size=128,
    eval_every=100,
  )
