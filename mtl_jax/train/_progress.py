"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Progress:
  """A rich progress bar: losses with their weights, examples/s, time left. Silent when `show` is false."""

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
    self._id = self._bar.add_task(title, total=steps, completed=start, speed="", tasks="compiling")

  def update(self, step: int, losses: Mapping[str, float], weights: Mapping[str, float], speed: float) -> None:
    """Moves the bar to `step`; `speed` in examples a second."""
    if self._bar is not None:
      tasks = "  ".join(f"{name} {losses[name]:.3g}[dim]x{weights[name]:.2g}[/dim]" for name in losses)
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
