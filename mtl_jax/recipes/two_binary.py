"""Two questions with two answers each about people of a census: the shared network with two heads of the textbooks."""

from __future__ import annotations

from typing import Any

from mtl_jax.data import source
from mtl_jax.data import table as tables
from mtl_jax.recipes._of_table import TableShape, of_table
from mtl_jax.recipes._recipe import Recipe
from mtl_jax.recipes._table_rows import rows_of, table_of


def two_binary(width: int = 128, dropout: float = 0.1) -> Recipe:
  """Whether somebody earns more than 50,000 dollars a year, and was never married.

  Inputs are the other columns, `relationship` among them, which tells of married couples.

  Args:
    width: The width of the network.
    dropout: The share of units that are dropped when training.

  Returns:
    The recipe, with the tasks `income` and `never_married`. `data` takes the census as `mtl.data.source.adult()` does.

  References:
    Ma et al., *Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts*, KDD 2018, for
    the pair of tasks, on another census.
  """

  def rows() -> tables.Rows:
    people = {part: _with_answer(table) for part, table in source.adult().items()}
    return rows_of(table_of(people["train"]), table_of(people["test"]), duplicates=True)

  return of_table(
    rows,
    "income,never_married",
    TableShape("periodic", width, dropout=dropout),
    name="two_binary",
    summary="Adult census: income above 50,000 dollars, never married. Two binary heads; minutes to train.",
    ignore=("marital_status", "fnlwgt"),
  )


def _with_answer(people: Any) -> Any:
  answers = ["yes" if word == "Never-married" else "no" for word in people["marital_status"].to_pylist()]
  return tables.as_table({**{name: people[name] for name in people.column_names}, "never_married": answers})
