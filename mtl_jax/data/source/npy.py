"""A directory of `.npy` files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax._core.files import using
from mtl_jax.data.source.mapped_files import MappedFiles, array_at, map_file


def npy(directory: str | os.PathLike[str]) -> MappedFiles:
  """The arrays of a directory, one `KEY.npy` each, read from their files as they are needed.

  A directory in it is an entry of several parts: `x/image.npy` and `x/text.npy` are `{"x": {"image": ..., "text":
  ...}}`.

  Args:
    directory: Of files written by `np.save`, arrays (N, ...) of numbers.

  Returns:
    The source, which takes the memory of some batches only, whatever the size of the files.

  Raises:
    UserError: The directory is missing or has no such file; a file is damaged or holds objects; different lengths.
  """
  mappings = []

  def entries(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with using(folder):
      paths = sorted(folder.iterdir())
    for path in paths:
      if path.is_dir():
        found[path.name] = entries(path)
      elif path.suffix == ".npy":
        mappings.append(map_file(path))
        found[path.stem] = array_at(str(path), mappings[-1], 0)
    return {key: entry for key, entry in found.items() if not isinstance(entry, dict) or entry}

  arrays = entries(Path(directory))
  if not arrays:
    raise UserError(f"{directory} holds no .npy file, expected one KEY.npy for each entry: write them with np.save.")
  return MappedFiles((npy, directory), arrays, mappings)
