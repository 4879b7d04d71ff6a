"""`mtl-jax reproduce`."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated

import tyro

from mtl_jax._core.errors import UserError
from mtl_jax.cli.output import console
from mtl_jax.cli.training import Dotted, only


@dataclasses.dataclass(frozen=True)
class Reproduce:
  """Train a run of a recipe again from its configuration, and compare test scores and parameters with the run's.

  For example

    mtl-jax reproduce runs/digits-pcgrad-0
    mtl-jax reproduce runs/digits-pcgrad-0 --tolerance 0.01 --run-dir runs/again
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory."""
  run_dir: Path | None = None
  """Where the new run goes (default: nowhere, it is not kept)."""
  tolerance: float = 0.0
  """The largest relative difference of a test score with which the run counts as reproduced; 0: equal to the bit."""
  recipe: str | None = None
  """The recipe of a run of your own: my.py, my.py:FUNCTION or package.module:FUNCTION, which is never run unasked."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from rich.table import Table

    from mtl_jax.experiment import reproduce
    from mtl_jax.experiment.trained import recipe_of

    only(dotted, [])
    if self.tolerance < 0:
      raise UserError(f"--tolerance is {self.tolerance:g}, expected 0 or more.")
    recipe = recipe_of(self.run, self.recipe)
    with tempfile.TemporaryDirectory() as scratch:
      found = reproduce(self.run, self.run_dir or Path(scratch) / "run", recipe, named=self.recipe)
    table = Table(title="test scores")
    for column in ("task", "metric", "then", "now"):
      table.add_column(column)
    for task, scores in found.scores.items():
      for metric, (before, now) in scores.items():
        table.add_row(task, metric, f"{before:.6g}", f"{now:.6g}")
    console().print(table)
    for change in found.changed:
      print(f"other than then: {change}")
    print("the parameters are equal to the bit" if found.identical else "the parameters are others")
    if found.worst > self.tolerance:
      why = "" if found.changed else ", though made with the same versions: something in it is not determined"
      raise UserError(
        f"the run is not reproduced: a test score differs by {found.worst:.2g} of itself, expected "
        f"{self.tolerance:g} at most (--tolerance){why}."
      )
