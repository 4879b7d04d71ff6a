"""Images of objects: what a recipe that detects them needs to know of a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mtl_jax import nn
from mtl_jax.data import augment, source
from mtl_jax.recipes import _canvas
from mtl_jax.recipes._recipe import Arrays


class Images(NamedTuple):
  """A data set of images, with entries `x`, `boxes` and `kinds`.

  Attributes:
    splits: `splits(seed)`, arrays to train, to tune and to test on.
    facts: `facts(kinds)`, labels of the image as a whole, which follow from the classes of its objects, (B, K):
      `count`, and `sign`, yes or no.
    classes: The names of the classes.
    mean_count: The mean of `count`.
    shape: Height, width and channels.
    pixels: Brings images to unit scale.
    fill: What augmentation puts outside of the image.
    width: Of the network.
    changes: What augmentation does.
    settings: Of the recipe.
  """

  splits: Callable[[int], Sequence[Arrays]]
  facts: Callable[[Any], dict[str, Any]]
  classes: Sequence[str]
  mean_count: float
  shape: tuple[int, int, int]
  pixels: nn.Pixels
  fill: float
  width: int
  changes: Sequence[augment.Change]
  settings: Mapping[str, Any]


def digits() -> Images:
  """Digits on a canvas: which and where, how many, and whether most are odd."""

  def facts(kinds):
    there = kinds >= 0
    odd = there & (kinds % 2 == 1)
    return {"count": there.sum(axis=1), "sign": 2 * odd.sum(axis=1) > there.sum(axis=1)}

  return Images(
    splits=lambda seed: _canvas.digits(4000, seed),
    facts=facts,
    classes=[str(digit) for digit in range(10)],
    mean_count=2.5,
    shape=(64, 64, 1),
    pixels=nn.Pixels(0.1, 0.25),
    fill=0.0,
    width=32,
    changes=[augment.zoom(0.8, 1.25)],
    settings={
      **{"learning_rate": 5e-3, "steps": 1200, "batch_size": 32, "eval_every": 200},
      "expected": "4000 images of digits, 8 minutes of processor time; mAP at 0.5 0.96, one seed.",
    },
  )


def bccd() -> Images:
  """Blood: cells and platelets, how many red cells, and whether there are platelets."""
  return Images(
    splits=lambda seed: list(source.bccd().values()),
    facts=lambda kinds: {"count": (kinds == 0).sum(axis=1), "sign": (kinds == 2).any(axis=1)},
    classes=["red cell", "white cell", "platelet"],
    mean_count=11.6,
    shape=(192, 256, 3),
    pixels=nn.Pixels((0.74, 0.7, 0.715), (0.06, 0.1, 0.075)),
    fill=0.7,
    width=16,
    changes=[augment.flip(), augment.flip(vertical=True), augment.zoom(0.8, 1.25), augment.colour(0.1, 0.1, 0.1)],
    settings={
      **{"learning_rate": 5e-3, "steps": 600, "batch_size": 8, "eval_every": 100},
      "expected": "364 photographs; BCCD from MTL_JAX_DATA; mAP at 0.5 0.80, red cells of all photographs within 2 %.",
    },
  )
