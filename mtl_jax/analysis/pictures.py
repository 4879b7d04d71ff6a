"""Pictures of predictions, beside the images that they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.analysis.plots import figure_of
from mtl_jax.tasks import Task


def predictions(
  path: Path,
  images: np.ndarray,
  names: Sequence[str],
  tasks: Mapping[str, Task],
  outputs: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
  """A row per image: the image, with what the tasks say of it in words, then a panel for each task that draws.

  Args:
    path: The PNG to write.
    images: (N, H, W, 1) or (N, H, W, 3), uint8, or floats in [0, 1].
    names: Of the images.
    tasks: The tasks.
    outputs: `{task: {name: (N, ...)}}`.

  Raises:
    UserError: matplotlib is not installed.
  """
  drawn = {name: task.draw for name, task in tasks.items() if task.draw is not None}
  columns = 1 + len(drawn)
  side = images.shape[1] / images.shape[2]
  told = 1 + len(tasks) - len(drawn)  # lines above an image
  figure = figure_of(figsize=(2.6 * columns, (2.6 * side + 0.16 * told + 0.1) * len(images)))
  for i, row in enumerate(figure.subplots(len(images), columns, squeeze=False)):
    own = {task: {name: values[i] for name, values in named.items()} for task, named in outputs.items()}
    for axes in row:
      axes.imshow(_shown(images[i]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
      axes.set_axis_off()
    words = [f"{task}: {in_words(own[task])}" for task in tasks if task not in drawn]
    row[0].set_title("\n".join([names[i], *words]), fontsize="small", loc="left")
    for axes, (task, draw) in zip(row[1:], drawn.items(), strict=True):
      axes.set_title(task, fontsize="small", loc="left")
      draw(axes, own[task])
  figure.savefig(path, dpi=120)


def in_words(outputs: Mapping[str, Any]) -> str:
  """The outputs of one example in some words.

  >>> in_words({"class": np.int32(1), "probability": np.array([0.1, 0.9])})
  '1 (90 %)'
  >>> in_words({"value": np.float32(2.34567)})
  '2.346'
  """
  main, *_ = outputs.values()
  said = f"{main:.4g}" if np.ndim(main) == 0 else f"array of {np.shape(main)}"
  if "class" in outputs and "probability" in outputs:
    chance = np.asarray(outputs["probability"])  # of each class, or of the second of two
    said += f" ({float(chance.max() if chance.ndim else max(chance, 1 - chance)):.0%})".replace("%", " %")
  return said


def _shown(image: np.ndarray) -> np.ndarray:
  image = image / 255 if image.dtype == np.uint8 else np.clip(image, 0, 1)
  return image[..., 0] if image.shape[-1] == 1 else image
