"""Where known data sets lie."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from mtl_jax._core.errors import UserError, reason


def folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
  """The directory given, or that of the environment variable `MTL_JAX_DATA`; None: there is neither."""
  directory = data_dir or os.environ.get("MTL_JAX_DATA")
  return Path(directory) if directory else None


def arrays_of(
  name: str, path: Path, keys: Sequence[str], others: Mapping[str, str] = MappingProxyType({})
) -> dict[str, np.ndarray]:
  """The arrays of a file of a known data set.

  Args:
    name: The data set, for messages.
    path: The file.
    keys: The arrays.
    others: For some keys another name that an array may have.

  Returns:
    `{key: array}`.

  Raises:
    UserError: One is missing, or the file is damaged; it names the data set and the file.
  """
  try:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:  # numpy leaves damaged ones open
      stored = {key: key if key in file else others.get(key, key) for key in keys}
      missing = [key for key, own in stored.items() if own not in file]
      found = {} if missing else {key: file[own] for key, own in stored.items()}
  except Exception as error:  # whatever zip files and numpy make of damaged ones
    raise UserError(f"{name}: cannot read {path}: {reason(error).rstrip('.')}: get the file once more.") from error
  if missing:
    raise UserError(f"{name} at {path} has no {missing[0]}, expected the arrays {', '.join(keys)}.")
  return found
