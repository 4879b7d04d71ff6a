"""Where known data sets lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtl_jax._core.errors import UserError


def folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
  """The directory given, or that of the environment variable `MTL_JAX_DATA`; None: there is neither."""
  directory = data_dir or os.environ.get("MTL_JAX_DATA")
  return Path(directory) if directory else None


def arrays_of(name: str, path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
  """The arrays of a file of a known data set; raises a `UserError` that names the data set where one is missing."""
  with np.load(path, allow_pickle=False) as file:
    if missing := [key for key in keys if key not in file]:
      raise UserError(f"{name} at {path} has no {missing[0]}, expected the arrays {', '.join(keys)}.")
    return {key: file[key] for key in keys}
