"""`mtl-jax train --table`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mtl_jax._core.errors import UserError
from mtl_jax.cli.output import choices_told, console
from mtl_jax.cli.training import Dotted, only


@dataclasses.dataclass(frozen=True)
class Table:
  """Train one model for several columns of a table, from a file to a report beside simpler models.

  For example

    mtl-jax train --table people.csv --targets income,hours
    mtl-jax train --table people.csv --targets income:classification,hours:regression --minutes 10 --folds 5
    mtl-jax train --table visits.parquet people.csv --on person --targets cost --split grouped --by person
    mtl-jax predict runs/people --input new.csv --output answers.csv
  """

  table: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE...")]
  """CSV or Parquet files, plain or gzipped; several are joined by the column --on."""
  targets: str
  """The columns to be predicted, with commas between them; the types :classification and :regression are told from the
  values where they are not given."""
  on: str | None = None
  """The column by which several files are joined."""
  names: str | None = None
  """The names of the columns, with commas between them, where files have no header."""
  test: tuple[str, ...] = ()
  """Files of rows to test on (default: a tenth of the rows)."""
  ignore: tuple[str, ...] = ()
  """Columns that are not read."""
  split: Literal["random", "stratified", "grouped", "time"] = "random"
  """How rows are divided to train, tune and test on: at random; so that each part has every class of the column --by;
  so that no value of it is in two parts; or the oldest rows by it to train and the newest to test."""
  by: str | None = None
  """The column by which rows are divided."""
  keep_duplicates: bool = False
  """Keep rows that have been there before."""
  scaling: Literal["quantile", "standard"] = "quantile"
  """How numbers are scaled: so that they are normally distributed, or to mean 0 and standard deviation 1."""
  networks: tuple[Literal["mlp", "periodic", "resnet"], ...] = ("mlp", "periodic", "resnet")
  """Those to choose from."""
  width: int = 128
  """The width of the network."""
  layers: int = 2
  """Its layers, or residual blocks."""
  dropout: float = 0.1
  """The share of units that are dropped when training."""
  class_weights: bool = False
  """Let rare classes count as much as frequent ones."""
  focal: float = 0.0
  """The exponent by which examples that are classified well count less; 2 is usual where classes are rare."""
  balancer: str = "equal"
  """How task gradients are combined."""
  arch: str | None = None
  """How trunk and heads are joined, such as mmoe (default: all share the trunk)."""
  steps: int | None = None
  """Steps to train (default: thirty passes over the rows)."""
  minutes: float = 5.0
  """The time that training may take; fewer steps are trained where they do not fit."""
  folds: int | None = None
  """Also judge by cross-validation of so many folds, which takes as many times as long."""
  no_compare: bool = False
  """Train the model alone: no models of single tasks, no linear models, no boosted trees."""
  seed: int = 0
  """Of initialisation, shuffling and dropout."""
  run_dir: Path | None = None
  """Where the run goes (default: runs/FILE)."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax.table import fit
    from mtl_jax.table.told import verdict

    only(dotted, [])
    if not self.table:
      raise UserError("no file after --table: name at least one.")
    shown = console()
    run_dir = self.run_dir or Path("runs") / Path(self.table[0]).name.partition(".")[0]
    options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    for name in ("table", "targets", "names", "test", "keep_duplicates", "no_compare", "run_dir"):
      del options[name]
    with choices_told():
      model = fit(
        list(self.table),
        self.targets,
        names=[name.strip() for name in (self.names or "").split(",") if name.strip()],
        test=list(self.test) or None,
        duplicates=self.keep_duplicates,
        compare=not self.no_compare,
        run_dir=run_dir,
        say=lambda line: shown.print(line, highlight=False, markup=False),
        **options,
      )
    if model.comparison is not None:
      shown.print(model.comparison.table())
      shown.print(verdict(model.comparison), highlight=False, markup=False)
    print(f"model, logs and comparison: {run_dir}; for new rows: mtl-jax predict {run_dir} --input NEW.csv")
