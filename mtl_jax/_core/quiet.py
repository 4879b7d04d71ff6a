"""Errors that Python and Orbax print beside the one that counts, and interrupts that Python drops."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import signal
import sys
import threading
from typing import Any


class Quiet:
  """From now until `close`, what belongs to an error that is raised as well is not printed.

  These are what Orbax logs; a traceback for each of its tasks that failed beside the first, which asyncio logs when
  they are collected, maybe long after; and one for each read that ends after a restore has failed: TensorStore then
  reports to the event loop that Orbax has closed.

  An interrupt that comes while a destructor or the callback of a weak reference runs is printed and dropped by Python,
  and the program goes on. Here it is sent again.
  """

  def __init__(self) -> None:
    """Begins."""
    self._log = logging.getLogger("absl")
    self._log.addFilter(self._keeps)
    logging.getLogger("asyncio").addFilter(_is_no_task_of_orbax)  # for good
    self._before = sys.unraisablehook
    self._own = self._unraisable  # one object, to be known again
    sys.unraisablehook = self._own

  def _keeps(self, record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname

  def _unraisable(self, unraisable: Any) -> None:
    error = unraisable.exc_value
    if isinstance(error, KeyboardInterrupt):
      # Not from here, where it would be dropped again; to the main thread itself, which may be waiting.
      main = threading.main_thread().ident
      threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT)).start()
    elif not (isinstance(error, RuntimeError) and "Event loop is closed" in str(error)):
      self._before(unraisable)

  def close(self) -> None:
    """Ends, unless somebody has put another hook before ours, who may call it."""
    self._log.removeFilter(self._keeps)
    if sys.unraisablehook is self._own:
      sys.unraisablehook = self._before


def _is_no_task_of_orbax(record: logging.LogRecord) -> bool:
  message = record.getMessage()
  return not ("exception was never retrieved" in message and "orbax" in message)


def close_coroutines() -> None:
  """Closes what Orbax has scheduled and will never run, since the event loop is closed.

  To be called when a save or a restore has failed: Orbax ends its loop at the first error. Python would warn of each
  coroutine that never started, when it is collected, maybe long after.
  """
  for task in gc.get_objects():
    if isinstance(task, asyncio.Task) and task.get_loop().is_closed():
      coroutine = task.get_coro()
      if inspect.iscoroutine(coroutine) and "orbax" in coroutine.cr_code.co_filename:
        if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
          coroutine.close()
