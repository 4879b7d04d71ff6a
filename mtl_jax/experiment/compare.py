"""Comparing balancers and architectures on a recipe with single-task training of the same network and budget."""

from __future__ import annotations

import csv
import dataclasses
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.checks import check_numbers, check_once
from mtl_jax._core.errors import UserError
from mtl_jax._core.files import holds_more_than, locked, using
from mtl_jax._core.many import FEW, mean
from mtl_jax.analysis import plots
from mtl_jax.analysis.delta_m import delta_m
from mtl_jax.analysis.plots import standard_error
from mtl_jax.arch import Architecture, as_arch
from mtl_jax.balance import Balancer, as_balancer, equal, rescale
from mtl_jax.data import Description, describe
from mtl_jax.experiment.config import Experiment, RunConfig, batch_of, configure, problem_of
from mtl_jax.experiment.run import compile_run, cosine_probe, train_run
from mtl_jax.objective import objective
from mtl_jax.recipes import Recipe
from mtl_jax.tasks import Task, balanced
from mtl_jax.train import Loop, Programs
from mtl_jax.train.log import write_json

SINGLE = "single-task"


class Method(NamedTuple):
  """One line of a comparison.

  Attributes:
    name: The balancer, the architecture, or both; or "single-task".
    scores: `{task: one test score a seed}`, by the task's main metric.
    delta_m: Percent, one per seed, against the mean of the single-task scores; negative is better.
    rank: The mean over tasks of the rank of its mean score among all methods.
    step_seconds: The median time of a step; of all single-task models together.
    train_seconds: Steps times their time.
    parameters: The number of parameters; of all single-task models together.
  """

  name: str
  scores: dict[str, list[float]]
  delta_m: list[float]
  rank: float
  step_seconds: float
  train_seconds: float
  parameters: int


class Comparison(NamedTuple):
  """What a comparison has found; printed, it is a table.

  Attributes:
    methods: The methods, single-task training first.
    metrics: `{task: metric}`, the metric that judges each task.
  """

  methods: list[Method]
  metrics: dict[str, str]

  def table(self) -> Any:
    """The comparison as a rich table: means and standard errors a task, of many tasks a metric; Delta_m, rank, cost."""
    from rich.table import Table

    result = Table(title="test scores, mean ± standard error over seeds")
    result.add_column("method")
    groups = self._columns()
    for title in groups:
      result.add_column(title, justify="right")
    for title in ("Δm %\n(lower is better)", "mean\nrank", "ms a\nstep", "parameters"):
      result.add_column(title, justify="right")
    for m in self.methods:
      scores = [_cell(np.mean([m.scores[task] for task in tasks], axis=0).tolist(), 4) for tasks in groups.values()]
      change = "" if m.name == SINGLE else _cell(m.delta_m, 2)
      result.add_row(m.name, *scores, change, f"{m.rank:.2f}", f"{1e3 * m.step_seconds:.1f}", f"{m.parameters:,}")
    return result

  def _columns(self) -> dict[str, list[str]]:
    """The tasks of each column by its title: one task; of many, all that are judged by the same metric."""
    if len(self.metrics) <= FEW:
      return {f"{task}\n{metric}": [task] for task, metric in self.metrics.items()}
    alike = {metric: [t for t, own in self.metrics.items() if own == metric] for metric in self.metrics.values()}
    return {f"mean of {len(tasks)} tasks\n{metric}": tasks for metric, tasks in alike.items()}

  def __str__(self) -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=140).print(self.table())
    return text.getvalue().rstrip()


def _cell(values: Sequence[float], digits: int) -> str:
  error = standard_error(values)
  return f"{np.mean(values):.{digits}f}" + ("" if np.isnan(error) else f" ± {error:.{digits}f}")


def compare(
  recipe: str | Recipe,
  balancers: Sequence[str] | Mapping[str, Balancer | str],
  archs: Sequence[str] | Mapping[str, Architecture | str] | None = None,
  *,
  seeds: int = 1,
  out: str | Path | None = None,
  skip: bool = False,
  progress: bool = True,
  say: Callable[[str], None] = print,
  **options: Any,
) -> Comparison:
  """Trains single-task baselines and every method, with every seed, and compares them on the test data.

  A method is a balancer with an architecture. The baselines are the recipe's own network with one task, trained with
  the same steps and seeds. The best models are those on the validation data.

  Args:
    recipe: The recipe, of your own too, or its name as in `mtl.recipes.find`.
    balancers: Names in `mtl.balance.names()`, or balancers by the names they have in the comparison.
    archs: Names in `mtl.arch.names()`, or architectures by the names they have in the comparison, each of which is
      trained with each balancer; None: the recipe's own.
    seeds: The number of seeds, 0, 1, ...
    out: The directory for `comparison.csv`, `comparison.json` and the pictures; None: nothing is written.
    skip: Leave out architectures that do not serve the recipe, and say so, instead of failing.
    progress: Show progress bars.
    say: Prints a line of news.
    **options: As `mtl_jax.experiment.RunConfig` has them, such as `steps`, `batch_size`, `learning_rate`, `tasks`,
      `engine` and `scale`; what is not given is the recipe's.

  Returns:
    The comparison: `print(comparison)` shows its table.

  Raises:
    UserError: No balancers or seeds, an unknown name or option, or a directory that is in use, not empty or not
      writable.
  """
  base = configure(recipe, **options)
  methods = _methods(base, _balancers(balancers, base.config), archs)
  check_numbers({"seeds": seeds})
  if out is None:
    return _compare(base, methods, seeds, skip, progress, say)[0]
  out_dir = Path(out)
  _check_empty(out_dir)
  with locked(out_dir):
    _check_empty(out_dir)  # once more: now nobody else fills it
    comparison, results = _compare(base, methods, seeds, skip, progress, say)
    with using(out_dir):
      _write(out_dir, base.config, seeds, comparison, results)
    return comparison


def _methods(
  base: Experiment,
  balancers: Mapping[str, Balancer],
  archs: Sequence[str] | Mapping[str, Architecture | str] | None,
) -> dict[str, Experiment]:
  """The experiment of each method, by a name that tells it from the others."""
  if archs is None:
    return {name: base._replace(balancer=balancer) for name, balancer in balancers.items()}
  if isinstance(archs, str):
    raise UserError(f"archs is {archs!r}, expected a list of names: [{archs!r}].")
  if not archs:
    raise UserError("compare: archs is empty, expected at least one architecture, or None: the recipe's own.")
  if not isinstance(archs, Mapping):
    check_once("archs", list(archs))
    archs = {name: name for name in archs}
  made = {name: as_arch(arch, f"architecture {name!r}") for name, arch in archs.items()}

  def told(arch: str, balancer: str) -> str:
    return arch if len(balancers) == 1 else balancer if len(made) == 1 else f"{arch} {balancer}"

  return {
    told(a, b): base._replace(arch=arch, balancer=balancer)
    for a, arch in made.items()
    for b, balancer in balancers.items()
  }


def _balancers(balancers: Sequence[str] | Mapping[str, Balancer | str], config: RunConfig) -> dict[str, Balancer]:
  """The balancers by their names, on the scale of the configuration."""
  if not balancers:
    raise UserError("compare needs at least one balancer.")
  if isinstance(balancers, str):
    raise UserError(f"balancers is {balancers!r}, expected a list of names: [{balancers!r}].")
  if not isinstance(balancers, Mapping):
    check_once("balancers", list(balancers))
    balancers = {name: as_balancer(name) for name in balancers}
  for name in balancers:
    if name.partition(" ")[0] == SINGLE:
      raise UserError(f"a balancer is named {name!r}, as the baseline is: choose another name.")
  return {
    name: rescale(as_balancer(balancer, f"balancer {name!r}"), config.scale) for name, balancer in balancers.items()
  }


def _check_empty(out_dir: Path) -> None:
  with using(out_dir):
    if out_dir.exists() and not out_dir.is_dir():
      raise UserError(f"{out_dir} is a file: choose a directory.")
    if holds_more_than(out_dir):
      raise UserError(f"{out_dir} is not empty: choose another directory.")


def _compare(
  base: Experiment,
  methods: Mapping[str, Experiment],
  seeds: int,
  skip: bool,
  progress: bool,
  say: Callable[[str], None],
) -> tuple[Comparison, dict[str, list[_Run]]]:
  splits = base.recipe.data(0)
  described = describe(splits.train, splits.about)
  tasks = balanced(problem_of(base, described).tasks)
  programs, chosen = {}, {}
  for name, experiment in methods.items():  # all of them before the first is trained
    try:
      compiled = compile_run(experiment, splits)
      _try(experiment, compiled, described)
    except UserError as error:
      if not skip:
        raise
      say(f"{name} is left out: {error}")
    else:
      programs[name], chosen[name] = compiled, experiment
  jobs = dict(chosen)
  for task in reversed(tasks):
    alone = base._replace(config=dataclasses.replace(base.config, tasks=(task,)), balancer=equal(), arch=None)
    jobs = {f"{SINGLE} {task}": alone, **jobs}
  results: dict[str, list[_Run]] = {}
  for title, experiment in jobs.items():
    compiled = programs.pop(title, None) or compile_run(experiment, splits)
    probe = cosine_probe(experiment, splits) if len(experiment.config.tasks) > 1 else None
    results[title] = runs = []
    for seed in range(seeds):
      fit, test = train_run(
        experiment._replace(config=dataclasses.replace(experiment.config, seed=seed)),
        splits,
        progress=progress,
        loop=Loop(title=f"{title} seed {seed}", probe=probe, programs=compiled),
      )
      size = sum(leaf.size for leaf in jax.tree.leaves(fit.params))
      runs.append(_Run(test, fit.history, fit.step_seconds, size))
      say(f"{title} seed {seed}: {_told({t: (tasks[t].main_metric, m) for t, m in test.items() if t in tasks})}")
  return _judge(base.config.steps, tasks, list(chosen), results), results


def _try(experiment: Experiment, programs: Programs, described: Description) -> None:
  """Raises the `UserError` of a network that does not fit the data, without computing anything."""
  problem = problem_of(experiment, described)
  batch = batch_of(described, experiment.config.batch_size)
  losses, key = objective(problem).at_step, jax.random.key(0)
  assert losses is not None
  state = jax.eval_shape(programs.create, key)
  jax.eval_shape(losses(jnp.int32(0)), state.params, state.state, batch, key)


def _told(scores: Mapping[str, tuple[str, Mapping[str, float]]]) -> str:
  """The score of each task, `{task: (metric, values)}`; of many tasks the mean of each metric."""
  if len(scores) <= FEW:
    return "  ".join(f"{task} {metric} {values[metric]:.4f}" for task, (metric, values) in scores.items())
  found = {}
  for task, (metric, values) in scores.items():
    found.setdefault(metric, {})[task] = values[metric]
  return "  ".join(f"mean {metric} of {len(own)} tasks {mean(own):.4f}" for metric, own in found.items())


class _Run(NamedTuple):
  test: Mapping[str, Mapping[str, float]]
  history: list[dict[str, Any]]
  step_seconds: float
  parameters: int


def _judge(
  steps: int, tasks: Mapping[str, Task], names: Sequence[str], results: Mapping[str, list[_Run]]
) -> Comparison:
  """The comparison of finished runs, `{title: one a seed}`."""
  metrics = {name: task.main_metric for name, task in tasks.items()}
  directions = {name: task.higher_is_better for name, task in tasks.items()}
  singles = [results[f"{SINGLE} {task}"] for task in metrics]

  def scores(runs_of: Callable[[str], list[_Run]]) -> dict[str, list[float]]:
    return {task: [run.test[task][metric] for run in runs_of(task)] for task, metric in metrics.items()}

  lines = {SINGLE: scores(lambda task: results[f"{SINGLE} {task}"])}
  lines |= {name: scores(lambda task, name=name: results[name]) for name in names}
  baseline = {task: float(np.mean(values)) for task, values in lines[SINGLE].items()}
  means = {name: {task: float(np.mean(v)) for task, v in line.items()} for name, line in lines.items()}
  methods = []
  for name, line in lines.items():
    runs = singles if name == SINGLE else [results[name]]
    seconds = sum(float(np.median([run.step_seconds for run in group])) for group in runs)
    ranks = []
    for task, up in directions.items():
      better = [m[task] > means[name][task] if up else m[task] < means[name][task] for m in means.values()]
      ranks.append(1 + sum(better))
    seeds = range(len(next(iter(line.values()))))
    methods.append(
      Method(
        name,
        line,
        [delta_m({task: v[seed] for task, v in line.items()}, baseline, directions) for seed in seeds],
        float(np.mean(ranks)),
        seconds,
        seconds * steps,
        sum(group[0].parameters for group in runs),
      )
    )
  return Comparison(methods, metrics)


def _write(out_dir: Path, base: RunConfig, seeds: int, comparison: Comparison, results: Mapping[str, Any]) -> None:
  record = {
    "config": dataclasses.asdict(base),
    "seeds": seeds,
    "metrics": comparison.metrics,
    "methods": [method._asdict() for method in comparison.methods],
  }
  write_json(out_dir / "comparison.json", record)
  write_json(out_dir / "histories.json", {title: [run.history for run in runs] for title, runs in results.items()})
  with (out_dir / "comparison.csv").open("w", newline="") as file:
    writer = csv.writer(file)
    columns = [f"{task} {metric} {part}" for task, metric in comparison.metrics.items() for part in ("mean", "se")]
    tail = ["delta_m mean", "delta_m se", "mean rank", "step ms", "train s", "parameters"]
    writer.writerow(["method", *columns, *tail])
    for m in comparison.methods:
      cells = [value for scores in m.scores.values() for value in (np.mean(scores), standard_error(scores))]
      cells += [np.mean(m.delta_m), standard_error(m.delta_m), m.rank, 1e3 * m.step_seconds, m.train_seconds]
      writer.writerow([m.name, *(f"{cell:.6g}" for cell in cells), m.parameters])
  first = {title: runs[0].history for title, runs in results.items()}
  try:
    plots.learning_curves(out_dir / "learning_curves.png", first, comparison.metrics)
    plots.delta_m_bars(out_dir / "delta_m.png", {m.name: m.delta_m for m in comparison.methods if m.name != SINGLE})
    plots.cosine_heat_map(out_dir / "cosines.png", first)
    plots.reports(out_dir / "reports.png", first)
  except UserError as error:  # pictures are an extra
    warnings.warn(str(error), stacklevel=2)
