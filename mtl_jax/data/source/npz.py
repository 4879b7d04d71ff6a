"""An uncompressed `.npz` file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax.data.source.mapped_files import MappedFiles, array_at, map_file, members


def npz(path: str | os.PathLike[str]) -> MappedFiles:
  """The arrays of a file written by `np.savez`, read from it as they are needed.

  `np.load` reads whole members, mapped or not; here the file is mapped, and each array lies where the directory of the
  file says. Names with slashes are parts: `x/image` and `x/text` are `{"x": {"image": ..., "text": ...}}`.

  Args:
    path: The file, arrays (N, ...) of numbers.

  Returns:
    The source, which takes the memory of some batches only, whatever the size of the file.

  Raises:
    UserError: The file is missing, damaged, compressed, empty or holds objects; or different lengths.
  """
  begins = members(Path(path))
  if not begins:
    raise UserError(f"{path} holds no array: write it with np.savez(path, key=array).")
  mapping = map_file(Path(path))
  arrays: dict[str, Any] = {}
  for name, begin in begins.items():
    *parts, last = name.split("/")
    entry = arrays
    for part in parts:
      entry = entry.setdefault(part, {})
    entry[last] = array_at(f"{name!r} in {path}", mapping, begin)
  return MappedFiles((npz, path), arrays, [mapping])
