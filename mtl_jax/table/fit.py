"""`fit`, from a table to a model and an honest comparison."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax._core.checks import check_numbers
from mtl_jax._core.errors import UserError, check_choice
from mtl_jax._core.files import holds_more_than
from mtl_jax.data import describe
from mtl_jax.data import table as tables
from mtl_jax.experiment import Experiment, configure, train_run
from mtl_jax.experiment.comparison import run_of
from mtl_jax.experiment.config import problem_of
from mtl_jax.experiment.run import compile_run
from mtl_jax.recipes import (
  NETWORKS,
  Network,
  Recipe,
  Splits,
  Table,
  TableShape,
  files_of,
  of_table,
  rows_of,
  table_of,
  without_duplicates,
)
from mtl_jax.table.compared import MULTI, compared
from mtl_jax.table.model import Model
from mtl_jax.table.told import told
from mtl_jax.table.trial import batch_size_for, choose, steps_for
from mtl_jax.train import Fit, Kept, Loop, Programs, Trained, calibrate, calibrated


def fit(
  table: Any,
  targets: str | Sequence[str] | Mapping[str, str | None],
  *,
  on: str | None = None,
  names: Sequence[str] = (),
  test: Any = None,
  ignore: Sequence[str] = (),
  split: tables.Split = "random",
  by: str | None = None,
  duplicates: bool = False,
  scaling: tables.Scaling = "quantile",
  networks: Sequence[Network] = NETWORKS,
  width: int = 128,
  layers: int = 2,
  dropout: float = 0.1,
  class_weights: bool = False,
  focal: float = 0.0,
  balancer: str = "equal",
  arch: str | None = None,
  steps: int | None = None,
  minutes: float = 5.0,
  folds: int | None = None,
  compare: bool = True,
  seed: int = 0,
  run_dir: str | Path | None = None,
  progress: bool = True,
  say: Callable[[str], None] = print,
) -> Model:
  """Trains one network for several columns of a table, from all other columns.

  What the columns hold is told from their values, see `mtl.data.table`. A tenth of the rows each is kept to tune and to
  test on. The network is the one of `networks` with the lowest validation losses after a third of the steps. All that
  is learned of the columns, and all that is chosen, is of training and validation rows; the test rows are looked at
  once.

  Args:
    table: A frame of pandas or polars, a table of Arrow, `{column: values}`; or one file or several, CSV or Parquet.
    targets: The columns to be predicted: `"income,hours"`, a list, or `{column: type}`, with the types
      `"classification"` and `"regression"`, or None: the values tell.
    on: The column by which several files are joined.
    names: The names of the columns, where files have no header.
    test: Rows to test on, as `table`; None: a tenth of the rows.
    ignore: Columns that are not read.
    split: `"random"`, `"stratified"`, `"grouped"` or `"time"`, see `mtl.data.table.split`.
    by: The column by which rows are divided.
    duplicates: Keep rows that have been there before.
    scaling: `"quantile"`: numbers become normally distributed; `"standard"`: of mean 0 and standard deviation 1.
    networks: Those to try: `"mlp"`; `"periodic"`, the same with periodic features of numbers; `"resnet"`.
    width: The width of the trunk.
    layers: Its layers, or residual blocks.
    dropout: The share of units that are dropped when training.
    class_weights: Let rare classes count as much as frequent ones.
    focal: The exponent by which examples that are classified well count less, see `mtl.tasks.classification`.
    balancer: A name in `mtl.balance.names()`.
    arch: A name in `mtl.arch.names()`; None: all targets share the trunk.
    steps: The number of steps; None: thirty passes over the rows.
    minutes: The time that training may take; with less than that takes, fewer steps are trained.
    folds: Also judge by cross-validation of so many folds, which takes as many times as long; None: by the test rows.
    compare: Also train each target alone, linear models and boosted trees.
    seed: Of initialisation, shuffling and dropout.
    run_dir: Where the run goes, to be read by `mtl.table.load` and `mtl-jax predict`; None: nothing is written.
    progress: Show progress bars.
    say: Prints a line of news.

  Returns:
    The model, with the comparison.

  Raises:
    UserError: Files that cannot be read, columns that are not there, targets that cannot be learned, an option out of
      range, or a run directory that is not empty.

  >>> import numpy as np
  >>> rng = np.random.default_rng(0)
  >>> x = rng.normal(size=400).round(3)
  >>> frame = {"x": x, "twice": 2 * x, "sign": ["up" if v > 0 else "down" for v in x]}
  >>> quiet = {"progress": False, "say": lambda line: None, "compare": False}
  >>> model = fit(frame, "twice,sign", networks=["mlp"], steps=300, **quiet)
  >>> model.predict({"x": [2.0, -2.0]})["sign"]
  ['up', 'down']
  """
  check_numbers({"seed": seed, "steps": steps, "folds": folds})
  if not minutes > 0:
    raise UserError(f"minutes is {minutes}, expected above 0.")
  for network in networks:
    check_choice("table.fit", "network", network, NETWORKS)
  out = None if run_dir is None else Path(run_dir)
  if out is not None and holds_more_than(out):
    raise UserError(f"{out} is not empty: choose another directory for the run.")
  shape = TableShape(networks[0], width, layers, dropout, class_weights, focal)
  options = (on, tuple(names), tuple(ignore), split, by, duplicates, scaling)
  source = _Source.of(table, test, tables.parse(targets), *options)
  parts = [dataclasses.replace(source, fold=(number, folds)) for number in range(folds or 0)]
  least = min(len(part.rows.train) for part in (source, *parts))  # and folds that cannot be made are told now
  splits = source.recipe(shape).data(0)
  prepared = tables.read_preparation(splits.about)
  rows = len(splits.train[next(iter(prepared.targets))])
  batch_size = min(batch_size_for(rows), least)
  for line in told(prepared, splits):
    say(line)

  def experiment(network: str, count: int, of: _Source = source) -> Experiment:
    own = dataclasses.replace(shape, network=network)
    recipe = dataclasses.replace(of.recipe(own), eval_every=max(1, count // 20))
    options = {"steps": count, "batch_size": batch_size, "balancer": balancer, "arch": arch, "seed": seed}
    return configure(recipe, recipe_options=of.words(own), **options)

  @functools.cache
  def train(network: str, count: int) -> tuple[Experiment, Programs]:
    made = experiment(network, count)
    return made, compile_run(made, splits)

  choice = choose(train, networks, splits, steps or steps_for(rows, batch_size), minutes, say, progress)
  chosen, programs = train(choice.network, choice.steps)
  say(f"{choice.network}, {choice.steps} steps of {batch_size} of {rows} rows")
  loop = Loop(title=MULTI, programs=programs)
  result, score = train_run(chosen, splits, run_dir=out, progress=progress, loop=loop)
  comparison = None
  if parts:
    each = [experiment(choice.network, choice.steps, part) for part in parts]
    comparison = compared([(one, one.recipe.data(0), None) for one in each], out, progress)
  elif compare:
    comparison = compared([(chosen, splits, run_of(result, score))], out, progress)
  return Model(_trained(chosen, splits, result), prepared, comparison)


@dataclasses.dataclass(frozen=True)
class _Source:
  """The rows, what of them is predicted from what, and the options of the recipe `table` that stand for it."""

  table: Table
  test: Table | None
  wanted: Mapping[str, Any]
  options: Mapping[str, Any]
  fold: tuple[int, int] | None = None

  @classmethod
  def of(cls, table: Any, test: Any, wanted: Mapping[str, Any], *rest: Any) -> _Source:
    """Reads the files that there are."""
    options = dict(zip(("on", "names", "ignore", "split", "by", "duplicates", "scaling"), rest, strict=True))
    read = functools.partial(table_of, on=options["on"], names=options["names"])
    options |= {"files": files_of(table) or (), "test_files": files_of(test) or ()}
    own = read(table) if options["duplicates"] else without_duplicates(read(table))
    return cls(own, None if test is None else read(test), wanted, options)

  @functools.cached_property
  def rows(self) -> tables.Rows:
    """The table in parts; its duplicates are left out already."""
    fold, folds = self.fold or (None, 0)
    options = {key: self.options[key] for key in ("split", "by")}
    return rows_of(self.table, self.test, fold=fold, folds=folds, duplicates=True, **options)

  def recipe(self, shape: TableShape) -> Recipe:
    """The recipe, with a network of that shape."""
    return of_table(lambda: self.rows, self.wanted, shape, **{key: self.options[key] for key in ("ignore", "scaling")})

  def words(self, shape: TableShape) -> tuple[str, ...]:
    """As on the command line."""
    targets = tuple(f"{name}:{kind}" if kind else name for name, kind in self.wanted.items())
    given = {**self.options, "targets": targets, **dataclasses.asdict(shape)}
    return tuple(word for key, value in given.items() for word in _words(key, value))


def _words(key: str, value: Any) -> list[str]:
  if value is None or value == () or value is False:
    return []
  values = () if value is True else value if isinstance(value, tuple) else (value,)
  return [f"--{key.replace('_', '-')}", *map(str, values)]


def _trained(experiment: Experiment, splits: Splits, result: Fit) -> Trained:
  """The model in memory, its outputs calibrated."""
  data = describe(splits.train, splits.about)
  problem = problem_of(experiment, data)
  config = experiment.config
  kept = Kept({"fit": {"batch_size": config.batch_size, "accumulate": config.accumulate}})
  trained = Trained(problem, result.params, result.net_state, result.best_step, data, kept)
  values = calibrate(problem, trained.params, trained.state, splits.valid, batch_size=trained.at_once)
  return trained._replace(problem=calibrated(problem, values))
