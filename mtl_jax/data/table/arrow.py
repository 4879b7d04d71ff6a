"""pyarrow, which reads and holds tables, and the columns of a table of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtl_jax._core.errors import UserError, nearest, some
from mtl_jax._core.extras import extra
from mtl_jax._core.files import replacing

if TYPE_CHECKING:
  import pyarrow as pa


def arrow() -> Any:
  """The module `pyarrow`.

  Raises:
    UserError: It is not installed.
  """
  with extra("tables", "tables need an extra"):
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet
  return pyarrow


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


def check_names(what: str, names: Sequence[str]) -> None:
  """Raises a `UserError` for a column without a name, or with that of another."""
  for i, name in enumerate(names):
    if not name:
      raise UserError(f"{what}: column {i + 1} has no name: give it one in the header.")
    if name in names[:i]:
      raise UserError(f"{what}: there are two columns {name!r}: rename one.")


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
