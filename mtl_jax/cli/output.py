"""What commands show: tables, metrics and pictures."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax._core.many import FEW, mean, worst_first


def draw(plot: Any) -> None:
  """Pictures are an extra: without matplotlib a run ends without them, and says so."""
  try:
    plot()
  except UserError as error:
    print(f"mtl-jax: {error}", file=sys.stderr)


def print_metrics(metrics: dict[str, Any], tasks: Mapping[str, Any], file: Path | None = None) -> None:
  """Every metric of every task, `{data: {task: {metric: value}}}`, as a table; of many tasks a summary.

  Args:
    metrics: The metrics.
    tasks: The tasks, by name.
    file: The file that has them all, for the summary.
  """
  from rich.table import Table

  result = Table()
  for title in ("data", "task", "metric", "value"):
    result.add_column(title, justify="right" if title == "value" else "left")
  for split, found in metrics.items():
    for task, metric, value in _rows(found, tasks):
      result.add_row(split, task, metric, f"{value:.4f}")
  console().print(result)
  if file is not None and len(tasks) > FEW:
    print(f"all metrics of all {len(tasks)} tasks: {file}")


def _rows(found: Mapping[str, Mapping[str, float]], tasks: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
  """The lines of a table, (task, metric, value): of each kind of many tasks the means, the worst three, the best three.

  Tasks are of one kind where they have the same metrics.
  """
  if len(found) <= FEW:
    yield from ((task, metric, value) for task, values in found.items() for metric, value in values.items())
    return
  for kind in dict.fromkeys(tuple(values) for values in found.values()):
    alike = {task: values for task, values in found.items() if tuple(values) == kind}
    for metric in kind:
      yield f"mean of {len(alike)} tasks", metric, mean({task: values[metric] for task, values in alike.items()})
    if len(alike) <= 6:
      continue
    judge = tasks[next(iter(alike))]
    main = {task: values[judge.main_metric] for task, values in alike.items()}
    order = worst_first(main, judge.higher_is_better)
    for title, names in (("worst", order[:3]), ("best", order[:-4:-1])):
      yield from ((f"{title}: {task}", judge.main_metric, main[task]) for task in names)


@contextlib.contextmanager
def choices_told(verbose: bool = False) -> Iterator[None]:
  """Shows meanwhile, once each, what the library logs: the engine that `auto` chose; if `verbose`, what it counted."""
  from rich.logging import RichHandler

  log = logging.getLogger("mtl_jax")
  handler = RichHandler(console=console(), show_time=False, show_level=False, show_path=False)
  level, propagate = log.level, log.propagate
  told: set[str] = set()
  handler.addFilter(lambda record: not (record.getMessage() in told or told.add(record.getMessage())))
  log.addHandler(handler)
  log.propagate = False  # other libraries give the root logger handlers of their own
  log.setLevel(logging.DEBUG if verbose else logging.INFO)
  try:
    yield
  finally:
    log.removeHandler(handler)
    log.setLevel(level)
    log.propagate = propagate


def console() -> Any:
  """A console that does not squeeze tables when the output is a file or a pipe."""
  from rich.console import Console

  return Console() if sys.stdout.isatty() else Console(width=140)
