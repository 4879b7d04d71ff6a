"""Files of arrays, `.npz`: read without running what is in them, and written whole or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError, nearest, reason
from mtl_jax._core.files import NO_ZIP, replacing


def read_npz(
  path: Path, keys: Sequence[str], optional: Sequence[str] = (), most: int | None = None
) -> dict[str, np.ndarray]:
  """The arrays of those keys, and of the optional ones that the file has.

  Args:
    path: The file.
    keys: The arrays that it must hold.
    optional: Others that are wanted.
    most: How many bytes all its arrays may be unpacked; None: any number.

  Raises:
    UserError: The file is missing, damaged or none, lacks a key, or would be larger unpacked.
  """
  if path.is_file() and not zipfile.is_zipfile(path):
    raise UserError(
      f"cannot read {path}: it is no .npz file, or only a part of one: write it with np.savez(path, key=array)."
    )
  if most is not None:
    _check_unpacked(path, most)
  try:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
      known = archive.files
      found = {key: np.asarray(archive[key]) for key in (*keys, *optional) if key in known}
  except Exception as error:  # whatever the layers below make of damaged files
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    raise UserError(f"cannot read {path} as .npz: {reason.rstrip('.')}.") from error
  for key in keys:
    if key not in found:
      others = f"only {', '.join(map(repr, known))}{nearest(key, known)}" if known else "it is empty"
      raise UserError(f"{path} has no array {key!r}, {others}.")
  return found


def _check_unpacked(path: Path, most: int) -> None:
  """Looks at the sizes that the archive declares, and that arrays declare: of each no more is read than both allow."""
  try:
    with zipfile.ZipFile(path) as archive:
      declared = sum(member.file_size for member in archive.infolist())
  except NO_ZIP as error:
    raise UserError(f"cannot read {path} as .npz: {reason(error).rstrip('.')}.") from error
  if declared > most:
    raise UserError(f"{path} has {declared} bytes unpacked, expected at most {most}: divide it.")


def check_writable(path: Path) -> None:
  """Raises a `UserError` where a file cannot be put, before the work that makes its content."""
  if path.exists() and not path.is_file():
    raise UserError(f"cannot write {path}: it is no file: name one.")
  if not path.absolute().parent.is_dir():
    raise UserError(f"cannot write {path}: there is no directory {path.parent}: make it first.")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays to just that path: readers see the old file or the new one, never a part.

  Raises:
    UserError: The file cannot be written.
  """
  try:
    with replacing(path) as partial, partial.open("wb") as file:  # a name alone would get .npz appended
      np.savez(file, **dict[str, Any](arrays))
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror}.") from error
