"""`fit`, from a table to a model and an honest comparison."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax._core.checks import check_numbers
from mtl_jax._core.errors import UserError, check_choice
from mtl_jax.data import describe
from mtl_jax.data import table as tables
from mtl_jax.experiment import Experiment, configure, train_run
from mtl_jax.experiment.config import problem_of
from mtl_jax.recipes import NETWORKS, Network, Recipe, Splits, TableShape, of_table, rows_of
from mtl_jax.table.compared import MULTI, compared, run_of
from mtl_jax.table.model import Model
from mtl_jax.table.told import told
from mtl_jax.table.trial import batch_size_for, choose, steps_for
from mtl_jax.train import Fit, Loop, Trained, calibrate, calibrated


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
  networks: Sequence[Network] = NETWORKS,
  width: int = 128,
  layers: int = 2,
  dropout: float = 0.1,
  class_weights: bool = False,
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
    networks: Those to try: `"mlp"`; `"periodic"`, the same with periodic features of numbers; `"resnet"`.
    width: The width of the trunk.
    layers: Its layers, or residual blocks.
    dropout: The share of units that are dropped when training.
    class_weights: Let rare classes count as much as frequent ones.
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
    UserError: Files that cannot be read, columns that are not there, targets that cannot be learned, or an option out
      of range.

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
  wanted = tables.parse(targets)
  on_what = {"on": on, "names": tuple(names), "ignore": tuple(ignore)}
  source = _Source(table, test, wanted, **on_what, split=split, by=by, duplicates=duplicates)
  shape = TableShape("mlp", width, layers, dropout, class_weights)
  splits = source.recipe(shape).data(0)
  prepared = tables.read_preparation(splits.about)
  rows = len(splits.train[next(iter(wanted))])
  batch_size = min(batch_size_for(rows), rows)
  steps_wanted = steps or steps_for(rows, batch_size)
  for line in told(prepared, splits):
    say(line)

  def experiment(network: str, count: int, of: _Source = source) -> Experiment:
    recipe = dataclasses.replace(of.recipe(dataclasses.replace(shape, network=network)), eval_every=max(1, count // 20))
    words = source.words(dataclasses.replace(shape, network=network))
    options = {"steps": count, "batch_size": batch_size, "balancer": balancer, "arch": arch, "seed": seed}
    return configure(recipe, recipe_options=words, **options)

  choice = choose(experiment, networks, splits, steps_wanted, minutes, say, progress)
  chosen = experiment(choice.network, choice.steps)
  say(f"{choice.network}, {choice.steps} steps of {batch_size} of {rows} rows")
  out = None if run_dir is None else Path(run_dir)
  result, score = train_run(chosen, splits, run_dir=out, progress=progress, loop=Loop(title=MULTI))
  comparison = None
  if folds is not None:
    parts = [dataclasses.replace(source, fold=(number, folds)) for number in range(folds)]
    each = [experiment(choice.network, choice.steps, part) for part in parts]
    comparison = compared([(one, one.recipe.data(0), None) for one in each], out, progress)
  elif compare:
    comparison = compared([(chosen, splits, run_of(result, score))], out, progress)
  return Model(_trained(chosen, splits, result), prepared, comparison)


@dataclasses.dataclass(frozen=True)
class _Source:
  """Where the rows are from, and what of them is predicted from what."""

  table: Any
  test: Any
  wanted: Mapping[str, Any]
  on: str | None
  names: tuple[str, ...]
  ignore: tuple[str, ...]
  split: tables.Split
  by: str | None
  duplicates: bool
  fold: tuple[int, int] | None = None

  def recipe(self, shape: TableShape) -> Recipe:
    fold, folds = self.fold or (None, 0)
    options = {"split": self.split, "by": self.by, "fold": fold, "folds": folds, "duplicates": self.duplicates}
    what = self._read(self.table)[1]

    def rows() -> tables.Rows:
      test = None if self.test is None else self._read(self.test)[0]()
      return rows_of(self._read(self.table)[0](), test, what=what, **options)

    return of_table(rows, self.wanted, shape, ignore=self.ignore, what=what)

  def words(self, shape: TableShape) -> tuple[str, ...]:
    """The options of the recipe `table` that stand for all this, but for a table that is in memory."""
    given = {
      "files": _files(self.table) or (),
      "targets": tuple(f"{name}:{kind}" if kind else name for name, kind in self.wanted.items()),
      "test_files": _files(self.test) or (),
      **{key: getattr(self, key) for key in ("on", "names", "ignore", "split", "by", "duplicates")},
      **dataclasses.asdict(shape),
    }
    return tuple(word for key, value in given.items() for word in _words(key, value))

  def _read(self, table: Any) -> tuple[Callable[[], Any], str]:
    files = _files(table)
    if files is None:
      return lambda: tables.as_table(table), "the table"
    return lambda: tables.read(files, self.on, self.names), ", ".join(files)


def _files(table: Any) -> tuple[str, ...] | None:
  """The paths of files; None: the table is in memory."""
  if isinstance(table, str | os.PathLike):
    return (os.fspath(table),)
  if isinstance(table, list | tuple) and all(isinstance(one, str | os.PathLike) for one in table):
    return tuple(os.fspath(one) for one in table)
  return None


def _words(key: str, value: Any) -> list[str]:
  if value is None or value == ():
    return []
  values = value if isinstance(value, tuple) else (value,)
  return [f"--{key.replace('_', '-')}", *map(str, values)]


def _trained(experiment: Experiment, splits: Splits, result: Fit) -> Trained:
  """The model in memory, its outputs calibrated."""
  data = describe(splits.train, splits.about)
  problem = problem_of(experiment, data)
  values = calibrate(problem, result.params, result.net_state, splits.valid)
  problem = calibrated(problem, values)
  return Trained(problem, result.params, result.net_state, result.best_step, data)
