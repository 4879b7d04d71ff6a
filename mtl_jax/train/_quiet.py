"""One line in place of pages: what Orbax prints of errors that it also raises."""

from __future__ import annotations

import logging
import sys
from typing import Any


class Quiet:
  """From now until `close`, two things are not printed that belong to an error which is raised as well.

  These are the tracebacks in Orbax's log, and one for each read that ends after a restore has failed: TensorStore then
  reports to the event loop that Orbax has closed.
  """

  def __init__(self) -> None:
    """Begins."""
    self._log = logging.getLogger("absl")
    self._log.addFilter(self._keeps)
    self._before = sys.unraisablehook
    self._own = self._unraisable  # one object, to be known again
    sys.unraisablehook = self._own

  def _keeps(self, record: logging.LogRecord) -> bool:
    return not (record.exc_info and "orbax" in record.pathname)

  def _unraisable(self, unraisable: Any) -> None:
    if not (isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(unraisable.exc_value)):
      self._before(unraisable)

  def close(self) -> None:
    """Ends, unless somebody has put another hook before ours, who may call it."""
    self._log.removeFilter(self._keeps)
    if sys.unraisablehook is self._own:
      sys.unraisablehook = self._before
