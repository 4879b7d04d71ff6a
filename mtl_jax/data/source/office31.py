"""Office-31: photographs of the same 31 kinds of objects from three domains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.source._folder import arrays_of, folder
from mtl_jax.data.source._jpegs import decoded

SPLITS = ("train", "valid", "test")
_FILE = "office31_64.npz"
_ARRAYS = ("jpeg", "off", "domain", "label", "split", "classes", "domains")
_DAMAGED = "Office-31 at {path} has a damaged image {number} ({reason}): get the file anew."


class Office31(NamedTuple):
  """The photographs.

  Attributes:
    classes: The names of the 31 classes.
    domains: `{domain: {split: {"x": (N, H, W, 3) uint8, "y": (N,) int32}}}`, with the domains amazon, dslr and webcam
      and the splits train, valid and test.
  """

  classes: tuple[str, ...]
  domains: dict[str, dict[str, dict[str, np.ndarray]]]


def office31(data_dir: str | os.PathLike[str] | None = None) -> Office31:
  """The 4110 photographs of Office-31 in the three domains, each in parts to train, tune and test on.

  Args:
    data_dir: A directory with a file `office31/office31_64.npz` of N images of one size: `jpeg` the bytes of all, image
      i those from `off[i]` to `off[i + 1]`; `domain` and `label` (N,), numbers in the names `domains` and `classes`,
      which are bytes of UTF-8 with line ends between; `split` (N,), 0 to train, 1 to tune and 2 to test on, for example
      by the lists of LibMTL. None: that of the environment variable `MTL_JAX_DATA`.

  Returns:
    The photographs. Their JPEGs are read by Pillow, which comes with the extra `images`.

  Raises:
    UserError: No directory is given; the file is missing or incomplete, or an image in it damaged; Pillow is missing.

  References:
    Saenko et al., *Adapting Visual Category Models to New Domains*, 2010.
  """
  directory = folder(data_dir)
  if directory is None:
    raise UserError(f"Office-31 is not here: set MTL_JAX_DATA=D with a file D/office31/{_FILE} of its images.")
  path = directory / "office31" / _FILE
  if not path.is_file():
    raise UserError(f"Office-31 is not at {path}: make that file, see help(mtl.data.source.office31).")
  found = arrays_of("Office-31", path, _ARRAYS)
  classes, domains = (tuple(found[key].tobytes().decode().split("\n")) for key in ("classes", "domains"))
  _check(path, found, len(classes), len(domains))
  images = decoded(path, found["jpeg"], found["off"], _DAMAGED)

  def part(domain: int, split: int) -> dict[str, np.ndarray]:
    rows = (found["domain"] == domain) & (found["split"] == split)
    return {"x": images[rows], "y": found["label"][rows].astype(np.int32)}

  parts = {name: {split: part(i, s) for s, split in enumerate(SPLITS)} for i, name in enumerate(domains)}
  return Office31(classes, parts)


def _check(path: Path, found: dict[str, np.ndarray], classes: int, domains: int) -> None:
  count = len(found["off"]) - 1
  for key, end in (("domain", domains), ("label", classes), ("split", len(SPLITS))):
    values = found[key]
    if values.shape != (count,) or not count or values.min() < 0 or values.max() >= end:
      raise UserError(f"Office-31 at {path} has {key} of shape {values.shape}, expected ({count},) in [0, {end}).")
