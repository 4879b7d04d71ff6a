"""What commands show: tables, metrics and pictures."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from mtl_jax._core.errors import UserError


def draw(plot: Any) -> None:
  """Pictures are an extra: without matplotlib a run ends without them, and says so."""
  try:
    plot()
  except UserError as error:
    print(f"mtl-jax: {error}", file=sys.stderr)


def print_metrics(metrics: dict[str, Any]) -> None:
  """Every metric of every task, `{data: {task: {metric: value}}}`, as a table."""
  from rich.table import Table

  result = Table()
  for title in ("data", "task", "metric", "value"):
    result.add_column(title, justify="right" if title == "value" else "left")
  for split, tasks in metrics.items():
    for task, values in tasks.items():
      for metric, value in values.items():
        result.add_row(split, task, metric, f"{value:.4f}")
  console().print(result)


@contextlib.contextmanager
def choices_told() -> Iterator[None]:
  """Shows meanwhile what the library logs as information, such as the engine that `auto` chose and why."""
  from rich.logging import RichHandler

  log = logging.getLogger("mtl_jax")
  handler, level = RichHandler(console=console(), show_time=False, show_level=False, show_path=False), log.level
  log.addHandler(handler)
  log.setLevel(logging.INFO)
  try:
    yield
  finally:
    log.removeHandler(handler)
    log.setLevel(level)


def console() -> Any:
  """A console that does not squeeze tables when the output is a file or a pipe."""
  from rich.console import Console

  return Console() if sys.stdout.isatty() else Console(width=140)
