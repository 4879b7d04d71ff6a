"""What a comparison finds: a line per method, its table, and its files."""

from __future__ import annotations

import csv
import dataclasses
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.many import FEW, mean
from mtl_jax.analysis import plots
from mtl_jax.analysis.delta_m import delta_m
from mtl_jax.analysis.plots import standard_error
from mtl_jax.experiment.config import RunConfig
from mtl_jax.tasks import Task
from mtl_jax.train import Fit, Metrics
from mtl_jax.train.log import write_json

SINGLE = "single-task"


class Method(NamedTuple):
  """One line of a comparison.

  Attributes:
    name: The balancer, the architecture, or both; or "single-task".
    scores: `{task: one test score a seed}`, by the task's main metric.
    delta_m: Percent, one per seed, against the mean of the single-task scores; negative is better. Empty without them.
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
    methods: The methods, single-task training first, if it was trained.
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
      scores = [_cell(_means({task: m.scores[task] for task in tasks}), 4) for tasks in groups.values()]
      change = "" if m.name == SINGLE or not m.delta_m else _cell(m.delta_m, 2)
      result.add_row(m.name, *scores, change, f"{m.rank:.2f}", *_cost(m))
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


def _means(scores: Mapping[str, Sequence[float]]) -> list[float]:
  """The mean over tasks of each seed; scores that are undefined, such as ROC-AUC of one class, are left out."""
  return [mean(dict(zip(scores, own, strict=True))) for own in zip(*scores.values(), strict=True)]


def _cost(m: Method) -> tuple[str, str]:
  """Milliseconds a step and parameters; nothing of methods that have neither."""
  return (f"{1e3 * m.step_seconds:.1f}", f"{m.parameters:,}") if m.parameters else ("", "")


def _cell(values: Sequence[float], digits: int) -> str:
  error = standard_error(values)
  return f"{np.mean(values):.{digits}f}" + ("" if np.isnan(error) else f" ± {error:.{digits}f}")


def told(scores: Mapping[str, tuple[str, Mapping[str, float]]]) -> str:
  """The score of each task, `{task: (metric, values)}`; of many tasks the mean of each metric."""
  if len(scores) <= FEW:
    return "  ".join(f"{task} {metric} {values[metric]:.4f}" for task, (metric, values) in scores.items())
  found = {}
  for task, (metric, values) in scores.items():
    found.setdefault(metric, {})[task] = values[metric]
  return "  ".join(f"mean {metric} of {len(own)} tasks {mean(own):.4f}" for metric, own in found.items())


class Run(NamedTuple):
  """What counts of a finished run."""

  test: Mapping[str, Mapping[str, float]]
  history: list[dict[str, Any]]
  step_seconds: float
  parameters: int


def run_of(result: Fit, test: Metrics) -> Run:
  """What counts of a training and its test."""
  size = sum(leaf.size for leaf in jax.tree.leaves(result.params))
  return Run(test, result.history, result.step_seconds, size)


def judge(steps: int, tasks: Mapping[str, Task], names: Sequence[str], results: Mapping[str, list[Run]]) -> Comparison:
  """The comparison of finished runs, `{title: one a seed}`."""
  metrics = {name: task.main_metric for name, task in tasks.items()}
  directions = {name: task.higher_is_better for name, task in tasks.items()}
  singles = [results[title] for task in metrics if (title := f"{SINGLE} {task}") in results]

  def scores(runs_of: Callable[[str], list[Run]]) -> dict[str, list[float]]:
    return {task: [run.test[task][metric] for run in runs_of(task)] for task, metric in metrics.items()}

  lines = {SINGLE: scores(lambda task: results[f"{SINGLE} {task}"])} if singles else {}
  lines |= {name: scores(lambda task, name=name: results[name]) for name in names}
  means = {name: {task: float(np.mean(v)) for task, v in line.items()} for name, line in lines.items()}
  methods = []
  for name, line in lines.items():
    runs = singles if name == SINGLE else [results[name]]
    seconds = sum(float(np.median([run.step_seconds for run in group])) for group in runs)
    ranks = []
    for task, up in directions.items():
      better = [m[task] > means[name][task] if up else m[task] < means[name][task] for m in means.values()]
      ranks.append(1 + sum(better))
    seeds = range(len(next(iter(line.values())))) if singles else ()
    methods.append(
      Method(
        name,
        line,
        [delta_m({task: v[seed] for task, v in line.items()}, means[SINGLE], directions) for seed in seeds],
        float(np.mean(ranks)),
        seconds,
        seconds * steps,
        sum(group[0].parameters for group in runs),
      )
    )
  return Comparison(methods, metrics)


def write(out_dir: Path, base: RunConfig, seeds: int, comparison: Comparison, results: Mapping[str, Any]) -> None:
  """Writes `comparison.json`, `comparison.csv` and `histories.json`, and the pictures."""
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
      cells += [
        np.mean(m.delta_m or [np.nan]),
        standard_error(m.delta_m),
        m.rank,
        1e3 * m.step_seconds,
        m.train_seconds,
      ]
      writer.writerow([m.name, *(f"{cell:.6g}" for cell in cells), m.parameters])
  first = {title: runs[0].history for title, runs in results.items()}
  try:
    plots.learning_curves(out_dir / "learning_curves.png", first, comparison.metrics)
    changes = {m.name: m.delta_m for m in comparison.methods if m.name != SINGLE and m.delta_m}
    if changes:
      plots.delta_m_bars(out_dir / "delta_m.png", changes)
    plots.cosine_heat_map(out_dir / "cosines.png", first)
    plots.reports(out_dir / "reports.png", first)
  except UserError as error:  # pictures are an extra
    warnings.warn(str(error), stacklevel=2)
