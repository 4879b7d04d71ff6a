"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtl_jax._core.many import FEW, mean, worst_first


class Progress:
  """A rich progress bar: losses with their weights, of many tasks the mean and the extremes; silent without `show`."""

  def __init__(self, steps: int, start: int, show: bool, title: str):
    """Starts the bar at step `start` of `steps`."""
    self._bar = None
    if not show:
      return
    from rich import progress

    self._bar = progress.Progress(
      progress.TextColumn("[bold]{task.description}"),
      progress.BarColumn(bar_width=24),
      progress.MofNCompleteColumn(),
      progress.TimeRemainingColumn(),
      progress.TextColumn("{task.fields[speed]}"),
      progress.TextColumn("{task.fields[tasks]}"),
    )
    self._bar.start()
    self._id = self._bar.add_task(
      title, total=steps, completed=start, speed="", tasks="compiling, then the first steps"
    )

  def update(self, step: int, losses: Mapping[str, float], weights: Mapping[str, float], speed: float) -> None:
    """Moves the bar to `step`; `speed` in examples a second."""
    if self._bar is not None:
      tasks = told(losses, weights)
      self._bar.update(self._id, completed=step, speed=f"{speed:,.0f} ex/s", tasks=tasks)

  def say(self, message: str) -> None:
    """Prints a line above the bar."""
    if self._bar is not None:
      self._bar.console.print(message, highlight=False, markup=False)

  def close(self) -> None:
    """Leaves the bar as it stands."""
    if self._bar is not None:
      self._bar.stop()

  def __enter__(self) -> Progress:
    """The bar itself."""
    return self

  def __exit__(self, *error: Any) -> None:
    """Closes the bar."""
    self.close()


def told(losses: Mapping[str, float], weights: Mapping[str, float]) -> str:
  """Losses and their weights in the order of the tasks; of many tasks the mean, the worst and the best.

  >>> told({"a": 0.5, "b": 2.0}, {"a": 1.0, "b": 0.25})
  'a 0.5[dim]x1[/dim]  b 2[dim]x0.25[/dim]'
  """

  def one(name):
    return f"{name} {losses[name]:.3g}[dim]x{weights[name]:.2g}[/dim]"

  if len(losses) <= FEW:
    return "  ".join(map(one, losses))
  worst, *_, best = worst_first(losses)
  return f"{len(losses)} tasks, mean loss {mean(losses):.3g}  worst {one(worst)}  best {one(best)}"
