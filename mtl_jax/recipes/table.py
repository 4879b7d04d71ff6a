"""A table of one's own: columns are predicted from the others. `mtl-jax train --table` does all of it at once."""

from __future__ import annotations

from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax.data import table as tables
from mtl_jax.recipes._of_table import Network, TableShape, of_table
from mtl_jax.recipes._recipe import Recipe
from mtl_jax.recipes._table_rows import Table, rows_of, table_of


def table(
  files: tuple[str, ...] = (),
  *,
  targets: tuple[str, ...],
  on: str | None = None,
  names: tuple[str, ...] = (),
  test_files: tuple[str, ...] = (),
  ignore: tuple[str, ...] = (),
  split: tables.Split = "random",
  by: str | None = None,
  fold: int | None = None,
  folds: int = 5,
  duplicates: bool = False,
  scaling: tables.Scaling = "quantile",
  network: Network = "mlp",
  width: int = 128,
  layers: int = 2,
  dropout: float = 0.1,
  class_weights: bool = False,
  focal: float = 0.0,
) -> Recipe:
  """The rows of CSV or Parquet files.

  Args:
    files: The files, see `mtl.data.table.read`; none: a table that is in memory.
    targets: The columns to be predicted, each with its type behind a colon if the values shall not tell it,
      `income:classification`.
    on: The column by which several files are joined.
    names: The names of the columns, where files have no header.
    test_files: Files of rows to test on; none: a tenth of the rows.
    ignore: Columns that are not read.
    split: How rows are divided, see `mtl.data.table.split`.
    by: The column by which they are divided.
    fold: With a number, that of the folds which is tested on.
    folds: The number of folds.
    duplicates: Keep rows that have been there before.
    scaling: Of numbers, as in `mtl.data.table.fit`.
    network: As in `mtl.recipes.TableShape`.
    width: As in `mtl.recipes.TableShape`.
    layers: As in `mtl.recipes.TableShape`.
    dropout: As in `mtl.recipes.TableShape`.
    class_weights: As in `mtl.recipes.TableShape`.
    focal: As in `mtl.recipes.TableShape`.

  Returns:
    The recipe, with a task per target.
  """

  def read(path: Any) -> Table:
    return table_of(path, on, names)

  def rows() -> tables.Rows:
    if not files:
      raise UserError("the run is of a table that was in memory, and no files are named.")
    return rows_of(read(files), read(test_files) if test_files else None, split, by, fold, folds, duplicates)

  shape = TableShape(network, width, layers, dropout, class_weights, focal)
  return of_table(rows, targets, shape, ignore=ignore, scaling=scaling, read=read)
