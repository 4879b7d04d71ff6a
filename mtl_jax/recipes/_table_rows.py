"""The rows of a table: from memory or files, without duplicates, in parts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from mtl_jax.data import table as tables


class Table(NamedTuple):
  """A table and where it is from.

  Attributes:
    rows: The table, of Arrow.
    origin: Where its rows are from.
  """

  rows: Any
  origin: tables.Origin


def table_of(given: Any, on: str | None = None, names: Sequence[str] = ()) -> Table:
  """A frame in memory, or files.

  Args:
    given: As in `mtl.table.fit`.
    on: The column by which several files are joined.
    names: The names of the columns, where files have no header.

  Returns:
    The table.

  Raises:
    UserError: As in `mtl.data.table.read` and `as_table`.
  """
  files = files_of(given)
  if files is None:
    rows = tables.as_table(given)
    return Table(rows, tables.origin_of("the table", rows.num_rows, 0, "row"))
  rows = tables.read(files, on, names)
  return Table(rows, tables.origin_of(files[0], rows.num_rows, 1 if names else 2))


def files_of(given: Any) -> tuple[str, ...] | None:
  """The paths of one file or several.

  Args:
    given: As in `mtl.table.fit`.

  Returns:
    The paths; None: it is a table in memory.

  >>> files_of("a.csv"), files_of({"a": [1]})
  (('a.csv',), None)
  """
  if isinstance(given, str | os.PathLike):
    return (os.fspath(given),)
  if isinstance(given, list | tuple) and all(isinstance(one, str | os.PathLike) for one in given):
    return tuple(os.fspath(one) for one in given)
  return None


def without_duplicates(table: Table) -> Table:
  """A table without the rows that have been there before.

  Args:
    table: The rows.

  Returns:
    The others.
  """
  kept = tables.distinct(table.rows)
  return Table(table.rows.take(kept), table.origin.take(kept))


def rows_of(
  table: Table,
  test: Table | None = None,
  split: tables.Split = "random",
  by: str | None = None,
  fold: int | None = None,
  folds: int = 5,
  duplicates: bool = False,
) -> tables.Rows:
  """A table in parts, by the options of the recipe `table`.

  Args:
    table: The rows.
    test: Rows to test on; None: a part of the others.
    split: As in the recipe.
    by: As in the recipe.
    fold: As in the recipe.
    folds: As in the recipe.
    duplicates: As in the recipe.

  Returns:
    The table and its parts.
  """
  rows, origin = table if duplicates else without_duplicates(table)
  if test is not None:
    return tables.with_test(rows, origin, *test, split, by)
  if fold is not None:
    return tables.fold(rows, origin, fold, folds, split, by)
  return tables.split(rows, origin, split, by)
