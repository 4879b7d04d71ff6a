"""A table's network beside one network per target, linear models and boosted trees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mtl_jax.data import describe
from mtl_jax.data import table as tables
from mtl_jax.experiment import Comparison, Experiment, train_run
from mtl_jax.experiment.comparison import SINGLE, Run, judge, run_of, write
from mtl_jax.experiment.config import problem_of
from mtl_jax.experiment.runs import alone
from mtl_jax.recipes import Splits
from mtl_jax.table.baselines import baselines
from mtl_jax.tasks import balanced
from mtl_jax.train import Loop

MULTI = "multi-task"


def compared(parts: Sequence[tuple[Experiment, Splits, Run | None]], out: Path | None, progress: bool) -> Comparison:
  """The comparison, by the mean over parts of the rows.

  Args:
    parts: For each, such as a fold, the network's experiment, the rows, and its run; None: it has not been trained.
    out: The run directory, which gets a directory `comparison`; None: nothing is written.
    progress: Show progress bars.

  Returns:
    The comparison.
  """
  results: dict[str, list[Run]] = {}
  for number, (experiment, splits, done) in enumerate(parts):
    title = f" fold {number}" if len(parts) > 1 else ""
    for name, run in _runs(experiment, splits, done, title, progress).items():
      results.setdefault(name, []).append(run)
  experiment, splits, _ = parts[0]
  tasks = balanced(problem_of(experiment, describe(splits.train, splits.about)).tasks)
  methods = [name for name in results if not name.startswith(SINGLE)]
  comparison = judge(experiment.config.steps, tasks, methods, results)
  if out is not None:
    (out / "comparison").mkdir(exist_ok=True)
    write(out / "comparison", experiment.config, len(parts), comparison, results)
  return comparison


def _runs(experiment: Experiment, splits: Splits, done: Run | None, title: str, progress: bool) -> dict[str, Run]:
  """Each model's run on one part of the rows."""
  problem = problem_of(experiment, describe(splits.train, splits.about))

  def trained(one: Experiment, own: Splits, name: str) -> Run:
    return run_of(*train_run(one, own, progress=progress, loop=Loop(title=name + title)))

  found = {}
  for task, kind in problem.tasks.items():
    found[f"{SINGLE} {task}"] = trained(*alone(experiment, splits, task, kind), f"{SINGLE} {task}")
  found[MULTI] = done or trained(experiment, splits, MULTI)
  prepared = tables.read_preparation(splits.about)
  rest = baselines(prepared, splits, problem.tasks)
  return found | {name: Run(scores, [], 0.0, 0) for name, scores in rest.items()}
