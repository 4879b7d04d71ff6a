"""CSV files, read strictly: all values are text, and whatever is wrong is told by file and line."""

from __future__ import annotations

import contextlib
import csv
import gzip
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.table.arrow import check_names

if TYPE_CHECKING:
  import pyarrow as pa

_DELIMITERS = ",;\t|"
_SHARE = 0.5
"""The share of the free memory that a table may take; cleaning and encoding need the rest."""


def read_csv(path: Path, given: Sequence[str], pa: Any) -> pa.Table:
  """The columns of a CSV file, as text.

  Args:
    path: The file.
    given: The names of the columns, where it has no header; empty: its first line has them.
    pa: The module `pyarrow`.

  Returns:
    The table.

  Raises:
    UserError: What is wrong in it.
  """
  first, delimiter = _first_line(path)
  names = list(given) or first
  check_names(str(path), names)
  wrong: list[Any] = []

  def is_wrong(row: Any) -> str:
    wrong.append(row)
    return "skip"

  with _without_tracebacks():
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
      check_memory(path, size)
  if wrong:
    row = wrong[0]
    raise UserError(
      f"{path} line {row.number} has {row.actual_columns} cells, expected {row.expected_columns}, one for each "
      "name of a column: quote cells that hold the separator."
    )
  table = pa.Table.from_batches(batches, reader.schema)
  if not table.num_rows:
    raise UserError(f"{path} has a header and no rows.")
  return pa.table({name: _decoded(path, name, table[name], 1 if given else 2, pa) for name in names})


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
  """Of a wrong row that is not UTF-8 pyarrow prints a traceback, beside the error that it raises."""
  before = sys.unraisablehook

  def hear(unraisable: Any) -> None:
    if not isinstance(unraisable.exc_value, UnicodeDecodeError):
      before(unraisable)

  sys.unraisablehook = hear
  try:
    yield
  finally:
    sys.unraisablehook = before


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


def check_memory(path: Path, size: int) -> None:
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
