"""Blood cells in photographs through a microscope."""

from __future__ import annotations

import os

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.objects import pad_objects
from mtl_jax.data.source._folder import arrays_of, folder
from mtl_jax.data.source._jpegs import decoded

CLASSES = ("RBC", "WBC", "Platelets")
MOST = 30
_PLACE = "https://github.com/Shenggan/BCCD_Dataset"
_KEYS = ("rgb_jpeg", "rgb_off", "boxes", "cls", "box_off", "split")


def bccd(data_dir: str | os.PathLike[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
  """364 photographs of blood with boxes around 4155 red cells, 372 white cells and 361 platelets.

  Args:
    data_dir: A directory with a file `bccd/bccd_192x256.npz`; None: that of the environment variable `MTL_JAX_DATA`. It
      holds the photographs, made 192 x 256 pixels, as JPEG files one behind the other, `rgb_jpeg` uint8, photograph i
      being `rgb_jpeg[rgb_off[i] : rgb_off[i + 1]]`; `boxes` (4888, 4) in fractions and their classes `cls`, those of
      photograph i being `boxes[box_off[i] : box_off[i + 1]]`; and `split` (364,), 0 to train, 1 to tune, 2 to test on.

  Returns:
    The parts `train` (205 photographs), `valid` (87) and `test` (72) of the data set's authors, each with `x`
    (N, 192, 256, 3) uint8, `boxes` (N, 30, 4) float32 and `kinds` (N, 30) int32, as `mtl.tasks.detection` takes them:
    0 red cells, 1 white cells, 2 platelets, -1 padding. Four boxes without area are left out.

  Raises:
    UserError: The file is missing, is another or is damaged; Pillow is not installed.

  References:
    Shenggan, *BCCD Dataset*, 2017, MIT license.
  """
  directory = folder(data_dir)
  told = f"make it of {_PLACE}, as the docstring of mtl.data.source.bccd says"
  if directory is None:
    raise UserError(f"BCCD needs a file D/bccd/bccd_192x256.npz: {told}, and set MTL_JAX_DATA to the directory D.")
  path = directory / "bccd" / "bccd_192x256.npz"
  if not path.is_file():
    raise UserError(f"BCCD is not at {path}: {told}.")
  jpegs, starts, boxes, kinds, ends, split = arrays_of("BCCD", path, _KEYS).values()
  x = decoded(path, jpegs, starts)
  area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
  own = [np.flatnonzero(area[start:end]) + start for start, end in zip(ends[:-1], ends[1:], strict=True)]
  padded, classes = pad_objects([boxes[rows] for rows in own], [kinds[rows] for rows in own], MOST)
  rows = {"train": 0, "valid": 1, "test": 2}
  return {
    part: {"x": x[split == number], "boxes": padded[split == number], "kinds": classes[split == number]}
    for part, number in rows.items()
  }
