"""Tables from files and from other libraries, as tables of Arrow."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtl_jax._core.errors import UserError, reason
from mtl_jax.data.table.arrow import arrow, check_names, column
from mtl_jax.data.table.csv_file import check_memory, read_csv

if TYPE_CHECKING:
  import pyarrow as pa

MISSING = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None")
"""What stands for a missing value in a file."""


def read(
  files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], on: str | None = None, names: Sequence[str] = ()
) -> pa.Table:
  """The table in a file, or in several that are joined by a key.

  CSV files are UTF-8, with a header, separated by commas, semicolons, tabs or bars, plain or gzipped; all their values
  are text here, without the blanks around it, and null for an empty cell, `?`, `NA` and the like. Parquet files keep
  their types.

  Args:
    files: One file or several: CSV (`.csv`, `.tsv`, `.txt`, `.data`, also `.gz`) or Parquet (`.parquet`).
    on: The column by which several files are joined: the rows are those of the first, each with what the others say of
      its key. A key may be in each of the others once.
    names: The names of the columns of a CSV file that has no header.

  Returns:
    The table.

  Raises:
    UserError: A file is missing, cut off, empty, not UTF-8 or larger than memory; a row of another length; a column
      named twice; files without a key, or with a key that is there twice.
  """
  paths = [Path(file) for file in ([files] if isinstance(files, str | os.PathLike) else files)]
  if not paths:
    raise UserError("no table given: name at least one file.")
  tables = [_read(path, names) for path in paths]
  if len(paths) > 1 and on is None:
    raise UserError(f"{len(paths)} files need a column to join them by: name it, --on COLUMN.")
  first = tables[0]
  for path, table in zip(paths[1:], tables[1:], strict=True):
    first = _joined(first, paths[0], table, path, str(on))
  return first


def as_table(frame: Any) -> pa.Table:
  """A table of Arrow from whatever holds one.

  Args:
    frame: A frame of pandas or polars, a table of Arrow, or `{column: values}`.

  Returns:
    The table; text is without the blanks around it, and null where it stands for a missing value, as in `read`.

  Raises:
    UserError: It is no table, or names a column twice.

  >>> as_table({"age": [30, 40], "job": ["smith", None]}).num_rows
  2
  """
  pa = arrow()
  try:
    table = pa.table(dict(frame) if isinstance(frame, Mapping) else frame)
  except Exception as error:  # they have no common base
    raise UserError(
      f"expected a table, such as a frame of pandas or polars or {{column: values}}, found {type(frame).__name__} "
      f"({reason(error)})."
    ) from error
  check_names("the table", table.column_names)
  # The index that pandas keeps in a column is none of the user's columns.
  table = table.select([name for name in table.column_names if not name.startswith("__index_level_")])
  return _trimmed(table.replace_schema_metadata(None))


def _read(path: Path, names: Sequence[str]) -> pa.Table:
  if not path.is_file():
    raise UserError(f"there is no file {path}: check the path.")
  pa = arrow()
  try:
    if path.suffix == ".parquet":
      check_memory(path, sum(_parquet_bytes(pa.parquet.ParquetFile(path))))
      table = pa.parquet.read_table(path)
      check_names(str(path), table.column_names)
      return _trimmed(table)
    return _trimmed(read_csv(path, names, pa))
  except (pa.ArrowException, OSError, EOFError, UnicodeError, csv.Error) as error:
    raise UserError(f"cannot read {path}: {reason(error)}.") from error


def _parquet_bytes(file: Any) -> Iterator[int]:
  return (file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))


def _trimmed(table: pa.Table) -> pa.Table:
  """Text without the blanks around it, and null where it stands for a missing value."""
  pa = arrow()
  found = {}
  for name in table.column_names:
    values = table[name]
    if pa.types.is_dictionary(values.type):
      values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
      values = pa.compute.utf8_trim_whitespace(values.cast(pa.large_string()))
      missing = pa.compute.is_in(values, value_set=pa.array(MISSING, values.type))
      values = pa.compute.if_else(missing, pa.scalar(None, values.type), values)
    found[name] = values
  return pa.table(found)


def _joined(first: pa.Table, first_path: Path, table: pa.Table, path: Path, on: str) -> pa.Table:
  """The rows of `first`, each with the columns of `table` where that has its key."""
  pa = arrow()
  key, own = column(first, on, str(first_path)), column(table, on, str(path))
  if own.type != key.type:  # one file is Parquet, say
    key, own = (values.cast(pa.large_string()) for values in (key, own))
  own = own.combine_chunks()
  counts = pa.compute.value_counts(own)
  twice = pa.compute.filter(counts.field("values"), pa.compute.greater(counts.field("counts"), 1))
  if len(twice):
    raise UserError(f"{path} has two rows whose {on!r} is {twice[0].as_py()!r}, expected one: take one out.")
  places = pa.compute.index_in(key, value_set=own)
  rest = [name for name in table.column_names if name != on]
  for name in rest:
    if name in first.column_names:
      raise UserError(f"{first_path} and {path} both have a column {name!r}: rename one.")
  return pa.table(
    {name: first[name] for name in first.column_names} | {name: table[name].take(places) for name in rest}
  )
