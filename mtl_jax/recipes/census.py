"""Four questions about people of a census: income, marital status, working hours and years of education."""

from __future__ import annotations

from mtl_jax.data import source
from mtl_jax.data import table as tables
from mtl_jax.recipes._of_table import TableShape, of_table
from mtl_jax.recipes._recipe import Recipe
from mtl_jax.recipes._table_rows import rows_of, table_of


def census(width: int = 128, dropout: float = 0.1) -> Recipe:
  """Two tasks of classes and two of numbers from the answers to the other questions.

  `relationship`, which tells who is married, and `education`, which says the years in words, are not read.

  Args:
    width: The width of the network.
    dropout: The share of units that are dropped when training.

  Returns:
    The recipe, with the tasks `income` (2 classes), `marital_status` (7), `hours_per_week` and `education_num` (years).
    `data` takes the census as `mtl.data.source.adult()` does.
  """

  def rows() -> tables.Rows:
    people = source.adult()
    return rows_of(table_of(people["train"]), table_of(people["test"]), duplicates=True)

  return of_table(
    rows,
    "income,marital_status,hours_per_week:regression,education_num:regression",
    TableShape("periodic", width, dropout=dropout),
    name="census",
    summary="Adult census: income, marital status, hours of work, years of education. Minutes to train.",
    ignore=("relationship", "education", "fnlwgt"),
  )
