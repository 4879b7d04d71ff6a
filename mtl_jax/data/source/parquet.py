"""Parquet files."""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError, reason, some
from mtl_jax._core.extras import extra
from mtl_jax.data.arrays import take
from mtl_jax.data.source.protocol import spec_of_rows


class Parquet:
  """The source of the row groups of Parquet files; made by `parquet`."""

  def __init__(self, paths: Sequence[Path], columns: Sequence[str] | None, cache_bytes: int):
    """Reads the files' schemas, and the first row group for the spec."""
    self._options = (tuple(paths), columns, cache_bytes)
    self._columns, self._spare = columns, cache_bytes
    self._files = [_opened(path) for path in paths]
    self._groups = [(file, group) for file in self._files for group in range(file[1].num_row_groups)]
    counts = [file[1].metadata.row_group(group).num_rows for file, group in self._groups]
    self._ends = np.cumsum(counts, dtype=np.int64)
    self._cache: collections.OrderedDict[int, dict[str, np.ndarray]] = collections.OrderedDict()
    self._lock = threading.Lock()
    if not len(self):
      raise UserError(f"{paths[0]} holds no rows, expected examples.")
    self._check_columns(paths[0])
    first = int(np.searchsorted(self._ends, 0, side="right"))
    self.spec = spec_of_rows(self._group(first))

  def __len__(self) -> int:
    return int(self._ends[-1]) if len(self._ends) else 0

  def rows(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """The examples of these numbers; those of one row group are read together."""
    numbers = numbers % len(self)
    groups = np.searchsorted(self._ends, numbers, side="right")
    found = {key: np.empty((len(numbers), *leaf.shape), leaf.dtype) for key, leaf in self.spec.items()}
    for group in np.unique(groups).tolist():
      here = groups == group
      start = 0 if group == 0 else self._ends[group - 1]
      for key, values in take(self._group(group), numbers[here] - start).items():
        found[key][here] = values
    return found

  def __reduce__(self) -> Any:
    """Without the row groups read so far."""
    return Parquet, self._options

  def _check_columns(self, path: Path) -> None:
    known = self._files[0][1].schema_arrow.names
    missing = [name for name in self._columns or () if name not in known]
    if missing:
      raise UserError(f"{path} has no column {missing[0]!r}, only {some(map(repr, known))}.")

  def _group(self, number: int) -> dict[str, np.ndarray]:
    """A row group as arrays, read once while the cache holds it."""
    with self._lock:
      if number in self._cache:
        self._cache.move_to_end(number)
        return self._cache[number]
      (path, file), group = self._groups[number]
      try:
        table = file.read_row_group(group, columns=self._columns)
      except Exception as error:  # of the layers below, without a common base
        raise _damaged(path, error) from error
      found = {name: _array(f"column {name!r} of {path}", table[name]) for name in table.column_names}
      if hasattr(self, "spec") and spec_of_rows(found) != self.spec:
        raise UserError(f"{path} has columns of other shapes or dtypes than {self._files[0][0]}: make them the same.")
      self._cache[number] = found
      self._spare -= _bytes(found)
      while self._spare < 0 and len(self._cache) > 1:
        self._spare += _bytes(self._cache.popitem(last=False)[1])
      return found


def parquet(
  paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
  *,
  columns: Sequence[str] | None = None,
  cache_bytes: int = 2**30,
) -> Parquet:
  """The rows of Parquet files, columns of numbers and of lists of numbers of one fixed size.

  A row group is read as a whole, when one of its rows is needed, and kept while there is room. In shuffled order rows
  come from all groups, so give the cache the size of the columns read; for more data than memory, write `.npy` files or
  ArrayRecord, which are read by the row. Missing numbers of floating-point columns are NaN.

  Args:
    paths: One file or several, or a directory of `*.parquet`, whose rows follow each other.
    columns: The columns to read; None: all.
    cache_bytes: Of row groups that are kept, in bytes of their arrays.

  Returns:
    The source.

  Raises:
    UserError: pyarrow is not installed; a file is missing, damaged or has no rows; a column is missing, holds no
      numbers or has missing whole numbers or lists; files with different columns.
  """
  given = [paths] if isinstance(paths, str | os.PathLike) else paths
  files = [file for path in map(Path, given) for file in (sorted(path.glob("*.parquet")) if path.is_dir() else [path])]
  if not files:
    raise UserError(f"there is no *.parquet file in {', '.join(map(str, given)) or 'an empty list'}: check the path.")
  return Parquet(files, None if columns is None else tuple(columns), cache_bytes)


def _opened(path: Path) -> tuple[Path, Any]:
  with extra("parquet", "Parquet files need an extra"):
    import pyarrow.parquet
  if not path.is_file():
    raise UserError(f"there is no Parquet file {path}: check the path.")
  try:
    return path, pyarrow.parquet.ParquetFile(path)
  except Exception as error:  # of the layers below, without a common base
    raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
  return UserError(f"{path} cannot be read, it is damaged or no Parquet file ({reason(error)}).")


def _array(what: str, column: Any) -> np.ndarray:
  """A column of numbers, (n,), or of lists of numbers, (n, size, ...)."""
  import pyarrow as pa

  values, kind, shape = column.combine_chunks(), column.type, [len(column)]
  while pa.types.is_fixed_size_list(kind):
    _check_whole(what, values)
    values, kind, shape = values.flatten(), kind.value_type, [*shape, kind.list_size]
  if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
    raise UserError(
      f"{what} is {column.type}, expected numbers or lists of one fixed size: name the others in columns=."
    )
  if not pa.types.is_floating(kind):
    _check_whole(what, values)
  return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(shape)


def _check_whole(what: str, values: Any) -> None:
  if values.null_count:
    raise UserError(
      f"{what} has {values.null_count} missing values, expected none: fill them in and add a mask column."
    )


def _bytes(arrays: dict[str, np.ndarray]) -> int:
  return sum(values.nbytes for values in arrays.values())
