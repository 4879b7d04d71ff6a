"""Objects in an image, and what can be said of the image as a whole: digits on a canvas, or cells in blood."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax._core.errors import check_choice
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.data import augment, source
from mtl_jax.recipes import _canvas
from mtl_jax.recipes._photos import photos
from mtl_jax.recipes._recipe import Arrays, Parts, Recipe, Splits, adamw_cosine, choose


class _Images(NamedTuple):
  """What differs between the data sets."""

  splits: Callable[[int], Sequence[Arrays]]
  facts: Callable[[Any], dict[str, Any]]  # what follows from the classes of the objects, (B, K)
  classes: Sequence[str]
  mean_count: float
  size: tuple[int, int, int]
  changes: Sequence[augment.Change]
  normalised: nn.Pixels
  settings: Mapping[str, Any]


def _digits() -> _Images:
  def facts(kinds):
    there = kinds >= 0
    odd = there & (kinds % 2 == 1)
    return {"count": there.sum(axis=1), "sign": odd.sum(axis=1) * 2 > there.sum(axis=1)}

  return _Images(
    splits=lambda seed: _canvas.digits(4000, seed),
    facts=facts,
    classes=list(map(str, range(10))),
    mean_count=2.5,
    size=(64, 64, 1),
    changes=[augment.zoom(0.8, 1.25)],
    normalised=nn.Pixels(0.1, 0.25),
    settings={"learning_rate": 5e-3, "steps": 600, "batch_size": 32, "eval_every": 100},
  )


def _blood() -> _Images:
  return _Images(
    splits=lambda seed: list(source.bccd().values()),
    facts=lambda kinds: {"count": (kinds == 0).sum(axis=1), "sign": (kinds == 2).any(axis=1)},
    classes=["red cell", "white cell", "platelet"],
    mean_count=11.6,
    size=(192, 256, 3),
    changes=[augment.flip(), augment.flip(vertical=True), augment.zoom(0.8, 1.25), augment.colour(0.1, 0.1, 0.1)],
    normalised=nn.Pixels(0.7, 0.1),
    settings={"learning_rate": 5e-3, "steps": 800, "batch_size": 8, "eval_every": 100},
  )


def detect_classify(data: Literal["digits", "bccd"] = "digits") -> Recipe:
  """Objects, how many there are of one kind, and a question about the image, from one trunk.

  Args:
    data: `"digits"`, one to four of scikit-learn's digits on a canvas: which and where, how many, and whether most are
      odd; or `"bccd"`, photographs of blood from `mtl.data.source.bccd()`: cells and platelets, how many red cells,
      and whether there are platelets.

  Returns:
    The recipe, with the tasks `objects` (map50), `count` (relative error) and `sign` (accuracy).
  """
  check_choice("detect_classify", "data", data, ("digits", "bccd"))
  images = {"digits": _digits, "bccd": _blood}[data]()
  with_facts = lambda batch: {**batch, **images.facts(batch["kinds"])}  # noqa: E731
  augmented = augment.transform({"x": augment.image(0.7 if data == "bccd" else 0), "boxes": augment.boxes("kinds")}, *images.changes)

  def net(names: Sequence[str]) -> Parts:
    *maps, pool = nn.stages(nn.ResNet((1, 1), width=32))
    heads = {
      "objects": from_linen(nn.DetectionHead(len(images.classes))),
      "count": from_linen(nn.CountHead()),
      "sign": chain(pool, from_linen(nn.MLP((32,), 1))),
    }
    return Parts(chain(from_linen(images.normalised), *maps), choose(heads, names))

  return Recipe(
    name="detect_classify",
    summary="Objects and their boxes, how many there are, and a question about the image: digits or blood cells.",
    expected="",
    data=lambda seed: Splits(*map(with_facts, images.splits(seed))),
    net=net,
    tasks={
      "objects": families.detection("kinds", len(images.classes), classes=images.classes, most=40),
      "count": families.counts("count", mean=images.mean_count),
      "sign": families.binary("sign").judged_by("accuracy"),
    },
    optimizer=adamw_cosine,
    transform=lambda batch, key: with_facts(augmented(batch, key)),
    files=photos(images.size[:2], images.size[2]),
    **images.settings,
  )
