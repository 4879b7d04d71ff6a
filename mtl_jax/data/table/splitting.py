"""The rows of a table to train, tune and test on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.parts import folds, parts
from mtl_jax.data.table.arrow import arrow, column
from mtl_jax.data.table.columns import dates, is_text, look, numbers
from mtl_jax.data.table.origin import Origin

if TYPE_CHECKING:
  import pyarrow as pa

Split = Literal["random", "stratified", "grouped", "time"]
"""How rows are divided, see `split`."""


class Rows(NamedTuple):
  """A table in parts.

  Attributes:
    table: All rows.
    origin: Where they are from.
    train: The numbers of those to train on.
    valid: Those to tune on.
    test: Those to report on.
  """

  table: pa.Table
  origin: Origin
  train: np.ndarray
  valid: np.ndarray
  test: np.ndarray


def distinct(table: pa.Table) -> np.ndarray:
  """The numbers of the rows that have not been there before: one that is there again could be trained and tested on.

  Args:
    table: The rows.

  Returns:
    The numbers, ascending.

  >>> from mtl_jax.data.table.frame import as_table
  >>> distinct(as_table({"a": [1, 2, 1], "b": ["x", "x", "x"]})).tolist()
  [0, 1]
  """
  rng, keys = np.random.default_rng(0), np.zeros((2, table.num_rows), np.uint64)
  for name in table.column_names:
    coded = table[name].combine_chunks().dictionary_encode().indices.fill_null(-1)
    codes = coded.to_numpy(zero_copy_only=False).astype(np.uint64)
    keys += rng.integers(2**64, size=(2, 1), dtype=np.uint64) * (codes + np.uint64(1))[None]
  _, first = np.unique(_pairs(keys), return_index=True)
  return np.sort(first)


def _pairs(keys: np.ndarray) -> np.ndarray:
  """Two numbers a row as one value that sorts."""
  return np.ascontiguousarray(keys.T).view([("one", np.uint64), ("other", np.uint64)])[:, 0]


def split(
  table: pa.Table,
  origin: Origin,
  how: Split = "random",
  by: str | None = None,
  shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
  seed: int = 0,
) -> Rows:
  """A table in parts to train, tune and test on.

  Args:
    table: All rows.
    origin: Where they are from.
    how: `"random"`; `"stratified"`, every class of the column `by` in each part; `"grouped"`, no value of the column
      `by` in two parts; or `"time"`, the oldest rows by the column `by` to train, the newest to test.
    by: The column.
    shares: The share of each part.
    seed: Draws the parts.

  Returns:
    The table and its parts.

  Raises:
    UserError: No such column, or none given; or as `mtl.data.parts`.
  """
  return Rows(table, origin, *parts(table.num_rows, shares, seed=seed, **_options(table, how, by, origin)))


def fold(
  table: pa.Table,
  origin: Origin,
  number: int,
  count: int = 5,
  how: Split = "random",
  by: str | None = None,
  seed: int = 0,
) -> Rows:
  """A table in parts, where one of `count` folds is tested on, and one in ten of the other rows is tuned on.

  Args:
    table: All rows.
    origin: Where they are from.
    number: The number of the fold, from 0.
    count: How many folds there are.
    how: As in `split`.
    by: As in `split`.
    seed: Draws the folds.

  Returns:
    The table and its parts.

  Raises:
    UserError: There is no such fold; or as in `split` and `mtl.data.folds`.
  """
  if not 0 <= number < count:
    raise UserError(f"fold is {number} of {count} folds, expected one from 0 to {count - 1}.")
  rest, test = folds(table.num_rows, count, seed=seed, **_options(table, how, by, origin))[number]
  own = table.take(rest)
  train, valid = parts(len(rest), (0.9, 0.1), seed=seed, **_options(own, how, by, origin))
  return Rows(table, origin, rest[train], rest[valid], test)


def with_test(
  table: pa.Table,
  origin: Origin,
  test: pa.Table,
  test_origin: Origin,
  how: Split = "random",
  by: str | None = None,
  seed: int = 0,
) -> Rows:
  """A table to train and, one row in ten, to tune on, with another to test on.

  Args:
    table: The rows to train and tune on.
    origin: Where they are from.
    test: Those to test on, with the same columns in any order.
    test_origin: Where these are from.
    how: As in `split`.
    by: As in `split`.
    seed: Draws the parts.

  Returns:
    Both tables as one, and its parts.

  Raises:
    UserError: A column is missing or of another type in `test`; or as in `split`.
  """
  train, valid = parts(table.num_rows, (0.9, 0.1), seed=seed, **_options(table, how, by, origin))
  pa = arrow()
  columns = {name: column(test, name, str(test_origin)) for name in table.column_names}
  for name, values in columns.items():
    if values.type != table[name].type:
      raise UserError(
        f"{test_origin}: column {name!r} is of type {values.type}, expected {table[name].type} as in {origin}."
      )
  whole = pa.concat_tables([table, pa.table(columns)])
  return Rows(whole, origin.then(test_origin), train, valid, np.arange(table.num_rows, whole.num_rows))


def _options(table: pa.Table, how: Split, by: str | None, what: Origin) -> dict[str, Any]:
  if how == "random":
    return {}
  if by is None:
    raise UserError(f"{what}: to split it {how} needs a column: name it, --by COLUMN.")
  values = column(table, by, f"{what}, split by {by!r}")
  if values.null_count:
    raise UserError(
      f"{what}: column {by!r}, to split by, lacks {values.null_count} values: fill them, or split random."
    )
  if how == "time":
    found = look(values, by)
    return {"order": dates(values, found.format) if found.kind == "date" else _ordered(values, by, what)}
  return {"stratify" if how == "stratified" else "groups": np.asarray(values.to_pylist())}


def _ordered(values: pa.ChunkedArray, by: str, what: Origin) -> np.ndarray:
  found = numbers(values)
  if not np.isfinite(found).all():
    wrong = values[int(np.argmin(np.isfinite(found)))].as_py()
    kind = "text" if is_text(values) else "a value"
    raise UserError(f"{what}: column {by!r} holds {kind}, {wrong!r}, that is no time, expected dates or numbers.")
  return found
