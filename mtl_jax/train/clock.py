"""Timing of asynchronous steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np


class Clock:
  """Times steps between the moments when the device is known to have caught up."""

  def __init__(self) -> None:
    """Starts the first lap, which counts as compilation."""
    self._laps: list[float] = []
    self._is_first = True
    self.restart()

  def restart(self) -> None:
    """Starts a lap."""
    self._begin, self._waited = time.perf_counter(), 0.0

  def wait(self, loader: Iterator[Any], last: Any = None) -> Any:
    """The next batch; the time until it is there counts as waiting if the device is then idle.

    Steps run while this program goes on to ask for the next batches. It may wait for those without any loss.

    Args:
      loader: The batches.
      last: A result of the last step that the device was given; None: it was given none.
    """
    before = time.perf_counter()
    batch = next(loader)
    if last is None or last.is_ready():
      self._waited += time.perf_counter() - before
    return batch

  def lap(self, steps: int) -> tuple[float, float]:
    """Steps a second since the last restart, and the share of that time in which the device waited for data."""
    seconds = time.perf_counter() - self._begin
    if not self._is_first:  # the first lap compiles
      self._laps.append(seconds / steps)
    self._is_first = False
    return steps / seconds, self._waited / seconds

  def step_seconds(self) -> float:
    """The median time of a step over all laps but the first; NaN if there was one only."""
    return float(np.median(self._laps)) if self._laps else math.nan


def waiting_for_data(history: list[dict[str, Any]]) -> float:
  """The share of a run's training time spent waiting for data, all laps but the first; NaN if there was no other."""
  lines = [line for line in history if line["kind"] == "train"]
  laps = [(b["step"] - a["step"], b) for a, b in zip(lines, lines[1:], strict=False)]
  seconds = [steps / line["examples_per_second"] for steps, line in laps]
  waited = [lap * line["waiting_for_data"] for lap, (_, line) in zip(seconds, laps, strict=True)]
  return sum(waited) / sum(seconds) if seconds else math.nan
