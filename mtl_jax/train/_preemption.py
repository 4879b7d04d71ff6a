"""What a run does when its machine is about to be taken away: notice of it, and the end of the program."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

PREEMPTED = 75
"""The exit code of a program whose run was stopped so that it can go on: "temporary failure" in `sysexits.h`."""


class Preempted(SystemExit):
  """A run ended early, after a notice that its machine is about to be taken away, with a checkpoint of its last step.

  Where nobody catches it, the program ends with code 75, which tells whoever started it to start it again.
  """

  def __init__(self, step: int, run_dir: Path):
    """After `step`, which the checkpoints in `run_dir` hold."""
    super().__init__(PREEMPTED)
    self.step, self.run_dir = step, run_dir

  def __str__(self) -> str:
    """What happened, and what to do."""
    return f"SIGTERM: stopped after step {self.step}, which is saved; resume the run in {self.run_dir} to go on."


def never(step: int) -> bool:
  """No notice."""
  return False


@contextlib.contextmanager
def notices() -> Iterator[Callable[[int], bool]]:
  """Takes SIGTERM for a notice, as clouds and schedulers send it; a second one ends the program at once.

  With several processes JAX hears the signal and tells all of them the same step to stop after. With one it is heard
  here, in the main thread, unless the program already does something else with it.

  Yields:
    `noticed(step)`, to be called after every step: whether the run should stop now.
  """
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    yield multihost_utils.reached_preemption_sync_point
    return
  if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
    yield never
    return
  heard = threading.Event()

  def hear(*_: object) -> None:
    heard.set()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

  signal.signal(signal.SIGTERM, hear)
  try:
    yield lambda step: heard.is_set()
  finally:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
