"""Tables from files and from other libraries, as tables of Arrow."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtl_jax._core.errors import UserError, nearest, reason, some
from mtl_jax._core.files import replacing

if TYPE_CHECKING:
  import pyarrow as pa

MISSING = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None")
"""What stands for a missing value in a file."""
_DELIMITERS = ",;\t|"
_SHARE = 0.5
"""The share of the free memory that a table may take; cleaning and encoding need the rest."""


def arrow() -> Any:
  """The module `pyarrow`.

  Raises:
    UserError: It is not installed.
  """
  try:
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet
  except ImportError as error:
    raise UserError("tables need an extra: pip install 'mtl-jax[tables]'.") from error
  return pyarrow


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
  _check_names("the table", table.column_names)
  # The index that pandas keeps in a column is none of the user's columns.
  table = table.select([name for name in table.column_names if not name.startswith("__index_level_")])
  return _trimmed(table.replace_schema_metadata(None))


def write(path: Path, columns: Mapping[str, Any]) -> None:
  """Writes columns as a CSV or, where the path ends in `.parquet`, a Parquet file: the whole of it, or nothing.

  Args:
    path: The file.
    columns: `{column: values}`.

  Raises:
    UserError: The file cannot be written.
  """
  pa = arrow()
  table = pa.table(
    {name: np.asarray(values) if hasattr(values, "dtype") else values for name, values in columns.items()}
  )
  try:
    with replacing(path) as partial:
      if path.suffix == ".parquet":
        pa.parquet.write_table(table, partial)
      else:
        pa.csv.write_csv(table, partial)
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror}.") from error


def column(table: pa.Table, name: str, what: str) -> pa.ChunkedArray:
  """A column by its name.

  Raises:
    UserError: There is none; `what` says who asks.
  """
  if name not in table.column_names:
    raise UserError(
      f"{what}: there is no column {name!r}{nearest(name, table.column_names)}, only "
      f"{some(map(repr, table.column_names))}."
    )
  return table[name]


def _read(path: Path, names: Sequence[str]) -> pa.Table:
  if not path.is_file():
    raise UserError(f"there is no file {path}: check the path.")
  pa = arrow()
  try:
    if path.suffix == ".parquet":
      _check_memory(path, sum(_parquet_bytes(pa.parquet.ParquetFile(path))))
      table = pa.parquet.read_table(path)
      _check_names(str(path), table.column_names)
      return _trimmed(table)
    return _read_csv(path, names, pa)
  except (pa.ArrowException, OSError, EOFError, UnicodeError, csv.Error) as error:
    raise UserError(f"cannot read {path}: {reason(error)}.") from error


def _parquet_bytes(file: Any) -> Iterator[int]:
  return (file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))


def _read_csv(path: Path, given: Sequence[str], pa: Any) -> pa.Table:
  first, delimiter = _first_line(path)
  names = list(given) or first
  _check_names(str(path), names)
  wrong: list[Any] = []

  def is_wrong(row: Any) -> str:
    wrong.append(row)
    return "skip"

  reader = pa.csv.open_csv(
    path,
    read_options=pa.csv.ReadOptions(
      use_threads=False,  # so that rows have numbers
      block_size=2**24,
      column_names=names,
      skip_rows=0 if given else 1,
    ),
    parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=is_wrong),
    convert_options=pa.csv.ConvertOptions(
      column_types={name: pa.binary() for name in names}, strings_can_be_null=False, check_utf8=False
    ),
  )
  batches, size = [], 0
  for batch in reader:
    if wrong:
      break
    batches.append(batch)
    size += batch.nbytes
    _check_memory(path, size)
  if wrong:
    row = wrong[0]
    raise UserError(
      f"{path} line {row.number} has {row.actual_columns} cells, expected {row.expected_columns}, one for each "
      "name of a column: quote cells that hold the separator."
    )
  table = pa.Table.from_batches(batches, reader.schema)
  if not table.num_rows:
    raise UserError(f"{path} has a header and no rows.")
  return _trimmed(pa.table({name: _decoded(path, name, table[name], 1 if given else 2, pa) for name in names}))


def _first_line(path: Path) -> tuple[list[str], str]:
  """The cells of the first line, and what separates them."""
  opened = gzip.open if path.suffix == ".gz" else open
  with opened(path, "rb") as file:
    line = file.readline(2**20)
  try:
    first = line.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise UserError(f"{path} line 1 is not UTF-8: save the file in that encoding.") from error
  if not first.strip():
    raise UserError(f"{path} is empty, expected a line of column names and rows below it.")
  delimiter = max(_DELIMITERS, key=first.count)
  return [name.strip() for name in next(csv.reader([first], delimiter=delimiter))], delimiter


def _decoded(path: Path, name: str, values: pa.ChunkedArray, first: int, pa: Any) -> pa.ChunkedArray:
  try:
    return values.cast(pa.string())
  except pa.ArrowInvalid:
    for row, value in enumerate(values):
      try:
        value.as_py().decode()
      except UnicodeDecodeError:
        raise UserError(
          f"{path} line {row + first}, column {name!r}: the text is not UTF-8: save the file in that encoding."
        ) from None
    raise


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


def _check_names(what: str, names: Sequence[str]) -> None:
  for i, name in enumerate(names):
    if not name:
      raise UserError(f"{what}: column {i + 1} has no name: give it one in the header.")
    if name in names[:i]:
      raise UserError(f"{what}: there are two columns {name!r}: rename one.")


def _check_memory(path: Path, size: int) -> None:
  """Raises a `UserError` for a table that takes too large a share of the free memory."""
  free = _free_memory()
  if size > _SHARE * (free + size):
    raise UserError(
      f"{path} takes {size / 2**30:.1f} GiB in memory and more, where {(free + size) / 2**30:.1f} GiB are free: use a "
      "part of its rows, fewer columns, or a larger machine."
    )


def _free_memory() -> float:
  """Bytes that are free; infinite where the system does not say."""
  try:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
  except (OSError, StopIteration):
    return np.inf


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
