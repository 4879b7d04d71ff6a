"""Arrays that stay in their files: `.npy` and the members of uncompressed `.npz`, mapped into memory."""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.files import NO_ZIP, using
from mtl_jax.data.arrays import check_lengths, take
from mtl_jax.data.source.protocol import spec_of_rows


class MappedFiles:
  """The source of arrays in mapped files.

  Pages of the files that rows were read from are given back after each batch (the system keeps them while it has
  memory to spare), so the memory of the process stays that of some batches.

  Args:
    open_again: The function that makes the source, and its argument: another process opens the files for itself.
    arrays: `{key: (N, ...)}`, entries may be trees of arrays, views of the mappings.
    mappings: The mappings.

  Raises:
    UserError: No examples, or arrays of different lengths.
  """

  def __init__(self, open_again: tuple[Callable[..., Any], Any], arrays: Mapping[str, Any], mappings: list[mmap.mmap]):
    """Reads nothing yet."""
    self._open_again, self._arrays, self._mappings = open_again, dict(arrays), mappings
    self._size = check_lengths(self._arrays)
    self.spec = spec_of_rows(self._arrays)

  def __len__(self) -> int:
    return self._size

  def rows(self, numbers: np.ndarray) -> dict[str, Any]:
    """The examples of these numbers."""
    found = take(self._arrays, numbers % self._size)
    for mapping in self._mappings:
      mapping.madvise(mmap.MADV_DONTNEED)
    return found

  def __reduce__(self) -> Any:
    """As the function that opens the files, and their path."""
    function, argument = self._open_again
    return function, (argument,)


def map_file(path: Path) -> mmap.mmap:
  """A file, mapped to be read.

  Raises:
    UserError: It is missing, empty or cannot be read.
  """
  with using(path), path.open("rb") as file:
    if not os.fstat(file.fileno()).st_size:
      raise UserError(f"{path} is empty, expected an array: write it anew.")
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def array_at(what: str, mapping: mmap.mmap, offset: int) -> np.ndarray:
  """The array that a mapping holds at an offset, in numpy's format of files.

  Raises:
    UserError: There is none, or only a part of one, or one of objects or words.
  """
  mapping.seek(offset)
  try:
    shape, fortran, dtype = _header(mapping)
  except Exception as error:  # whatever numpy makes of damaged headers
    raise UserError(f"{what} is no array in numpy's format, or is damaged: write it with np.save.") from error
  if dtype.hasobject or dtype.kind in "SUV":
    raise UserError(f"{what} holds {dtype}, expected numbers: objects are not read, since they could run code.")
  try:
    return np.ndarray(shape, dtype, mapping, mapping.tell(), order="F" if fortran else "C")
  except TypeError as error:
    raise UserError(f"{what} is cut off: its header promises {dtype}{list(shape)}; write it anew.") from error


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
  version = np.lib.format.read_magic(file)
  read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
  return read(file)


def members(path: Path) -> dict[str, int]:
  """Where the members of an uncompressed `.npz` begin, by their names.

  Raises:
    UserError: The file is missing, damaged, compressed or none.
  """
  try:
    with using(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
      return {info.filename.removesuffix(".npy"): _begin(path, file, info) for info in archive.infolist()}
  except UserError:
    raise
  except NO_ZIP as error:
    raise UserError(
      f"{path} is no .npz file, or only a part of one: write it with np.savez(path, key=array)."
    ) from error


def _begin(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> int:
  if info.compress_type != zipfile.ZIP_STORED:
    raise UserError(f"{path} is compressed, so {info.filename} cannot be mapped: write it with np.savez.")
  file.seek(info.header_offset + 26)  # of the member's own header, whose extra field the directory does not have
  name, extra = struct.unpack("<HH", file.read(4))
  return info.header_offset + 30 + name + extra
