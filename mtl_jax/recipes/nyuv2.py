"""NYUv2: what is where in a room, how far it is, and which way it faces."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax._core.errors import check_choice
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.data import Description, augment, parts, source
from mtl_jax.recipes._photos import photos
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose

SIZE = (96, 128)


def nyuv2(width: int = 16, net: Literal["unet", "segnet"] = "unet") -> Recipe:
  """The three tasks of the papers on multi-task learning, with 13 classes, on images of 96 x 128 pixels.

  Flips, zooms up to 1.5 times, by which depth is divided, and changes of colour augment the training images. A tenth of
  the official training part is to tune on, in runs of 15 images, since neighbours show the same rooms.

  Deviations from the papers: smaller images and a smaller network.

  Args:
    width: The channels of the network's first resolution; each of the next three has twice as many.
    net: `"unet"`, at half of the images' resolution, or `"segnet"`, at their own, the papers' network.

  Returns:
    The recipe, with the tasks `segmentation` (mean IoU), `depth` (absolute error in metres) and `normals` (mean angle
    in degrees); `data` takes the images as `mtl.data.source.nyuv2()` does.

  References:
    Liu, Johns, Davison, *End-to-End Multi-Task Learning with Attention*, CVPR 2019, for the tasks.
  """

  def data(seed: int) -> Splits:
    found = source.nyuv2()
    rows, test = np.flatnonzero(~found.is_test), np.flatnonzero(found.is_test)
    train, valid = (rows[part] for part in parts(len(rows), (0.9, 0.1), groups=np.arange(len(rows)) // 15))

    def arrays(part: np.ndarray) -> dict[str, Any]:
      maps = {"x": found.images, "segmentation": found.classes, "depth": found.depth, "normals": found.normals}
      return {name: values[part] for name, values in maps.items()}

    known = found.depth[train][found.depth[train] > 0]
    about = {"classes": found.names, "depth": {"unit": "m", "mean": float(known.mean()), "std": float(known.std())}}
    return Splits(arrays(train), arrays(valid), arrays(test), about)

  check_choice("nyuv2", "net", net, ("unet", "segnet"))

  def network(names: Sequence[str]) -> Parts:
    stride, widths = 2 if net == "unet" else 1, [width, 2 * width, 4 * width, 8 * width]
    trunk = nn.UNet(widths, stride=stride) if net == "unet" else nn.SegNet(widths, (2, 2, 2, 2))
    outs = choose({"segmentation": 13, "depth": 1, "normals": 3}, names)
    heads = {name: from_linen(nn.DenseHead(out, (width,), scale=stride)) for name, out in outs.items()}
    return Parts(chain(from_linen(nn.Pixels(0.45, 0.28)), *nn.stages(trunk)), heads)

  def tasks(classes: Sequence[str] | None = None, mean: float = 0.0, std: float = 1.0) -> dict[str, families.Task]:
    segmentation = families.segmentation("segmentation", 13, classes=classes)
    depth, normals = families.depth("depth", mean=mean, std=std), families.normals("normals")
    return {"segmentation": segmentation, "depth": depth, "normals": normals}

  def adapt(described: Description) -> Recipe:
    classes, depth = described.about["classes"], described.about["depth"]
    return dataclasses.replace(recipe, tasks=tasks(classes, depth["mean"], depth["std"]))

  kinds = {"segmentation": augment.classes(-1), "depth": augment.depth(), "normals": augment.normals()}
  changes = augment.flip(), augment.zoom(1.0, 1.5), augment.colour(0.2, 0.2, 0.2)
  recipe = Recipe(
    name="nyuv2",
    summary="Rooms in photographs: 13 classes, depth and surface normals of every pixel.",
    expected="1449 images; NYUv2 from MTL_JAX_DATA; mean IoU 0.13, depth to 0.72 m, from scratch.",
    data=data,
    net=network,
    tasks=tasks(),
    optimizer=adamw_cosine,
    **{"learning_rate": 3e-3, "steps": 600, "batch_size": 16, "eval_every": 200},
    files=photos(SIZE),
    adapt=adapt,
    transform=augment.transform({"x": augment.image(), **kinds}, *changes),
  )
  return recipe
