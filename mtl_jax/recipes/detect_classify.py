"""Objects in an image, and what can be said of the image as a whole: digits on a canvas, or cells in blood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax._core.errors import check_choice
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.data import augment
from mtl_jax.recipes import _objects
from mtl_jax.recipes._photos import photos
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose

_SETS = {"digits": _objects.digits, "bccd": _objects.bccd}


def detect_classify(data: Literal["digits", "bccd"] = "digits") -> Recipe:
  """Objects, how many there are of some kind, and a question about the image, from one trunk.

  Args:
    data: `"digits"`, one to four of scikit-learn's digits on a canvas: which and where, how many, and whether most are
      odd; or `"bccd"`, photographs of blood from `mtl.data.source.bccd()`: cells and platelets, how many red cells,
      and whether there are platelets. There red cells are labelled in part, in some photographs none, so that counts of
      single photographs can not be learned, while those of all together (the metric total_error) can.

  Returns:
    The recipe, with the tasks `objects` (map50), `count` (relative error) and `sign` (accuracy).
  """
  check_choice("detect_classify", "data", data, _SETS)
  images = _SETS[data]()
  moved = augment.transform({"x": augment.image(images.fill), "boxes": augment.boxes("kinds")}, *images.changes)

  def with_facts(batch):
    return {**batch, **images.facts(batch["kinds"])}

  def net(names: Sequence[str]) -> Parts:
    *maps, _ = nn.stages(nn.ResNet((1, 1), width=images.width))
    heads = {
      "objects": from_linen(nn.DetectionHead(len(images.classes), images.width * 2)),
      "count": from_linen(nn.CountHead(images.width * 2)),
      "sign": from_linen(nn.ImageHead(1, images.width * 2)),
    }
    return Parts(chain(from_linen(images.pixels), *maps), choose(heads, names))

  return Recipe(
    name="detect_classify",
    summary="Objects and their boxes, how many there are, and a question about the image: digits or blood cells.",
    data=lambda seed: Splits(*map(with_facts, images.splits(seed))),
    net=net,
    tasks={
      "objects": families.detection("kinds", len(images.classes), classes=images.classes, most=40),
      "count": families.counts("count", mean=images.mean_count),
      "sign": families.binary("sign").judged_by("accuracy"),
    },
    optimizer=adamw_cosine,
    transform=lambda batch, key: with_facts(moved(batch, key)),
    files=photos(images.shape[:2], images.shape[2]),
    **images.settings,
  )
