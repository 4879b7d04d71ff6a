"""`Model`, a trained network of a table: it reads tables and answers in their words and units."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from mtl_jax.data import check
from mtl_jax.data import table as tables
from mtl_jax.experiment import Comparison, open_trained
from mtl_jax.recipes import table_of
from mtl_jax.train import Metrics, Trained


class Model(NamedTuple):
  """A trained network of a table.

  Attributes:
    trained: The network with its parameters.
    prepared: How a table becomes arrays.
    comparison: What it achieves on the test rows beside other models; None: that was not asked for.
  """

  trained: Trained
  prepared: tables.Preparation
  comparison: Comparison | None = None

  def predict(self, frame: Any) -> dict[str, Any]:
    """Predictions for the rows of a table.

    Args:
      frame: A table, as `mtl.data.table.as_table` takes it, with the columns trained on in any order; or its file.

    Returns:
      `{column: (N,)}`: of a target of classes the class, as text, and `TARGET_probability_CLASS`, of two classes that
      of the second; of a target of numbers the number in its unit, with the interval `TARGET_low` to `TARGET_high`
      that holds nine of ten.

    Raises:
      UserError: A column is missing, or has words in place of numbers.
    """
    arrays = self.prepared.arrays(*table_of(frame), ())
    check(arrays, {}, self.trained.problem.inputs)
    return self.prepared.answers(self.trained.predict(arrays))

  def evaluate(self, frame: Any) -> Metrics:
    """Every metric of every target, `{target: {metric: value}}`.

    Args:
      frame: A table as in `predict`, with the targets.

    Returns:
      The metrics.

    Raises:
      UserError: As in `predict`; or a target is missing, or of a class that training did not have.
    """
    problem = self.trained.problem
    arrays = self.prepared.arrays(*table_of(frame), tuple(problem.tasks))
    check(arrays, problem.tasks, problem.inputs)
    return self.trained.evaluate({"rows": arrays})["rows"]


def load(run_dir: str | Path) -> Model:
  """The model of a run of `mtl-jax train --table` or of `mtl.table.fit`.

  Args:
    run_dir: The run directory.

  Returns:
    The model.

  Raises:
    UserError: The directory holds no run, or one of another recipe.
  """
  trained = open_trained(Path(run_dir))
  return Model(trained, tables.read_preparation(trained.data.about))
