"""Batches whose only state is the number of the next, that outlive processes which read, and end before Python does."""

from __future__ import annotations

import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import grain

from mtl_jax._core.errors import UserError

DEATHS = 3
"""How many times in a row processes that read the same batch may die."""


def numbered(start_at: Callable[[int], Any]) -> grain.IterDataset:
  """The data set whose iterators give what `start_at(0)` gives, and go on anywhere by `start_at(number)`.

  The state is the same however many threads or processes read, so a run may go on with others. Iterators are closed
  when the interpreter exits, if not before: Grain's prefetching threads are daemons, and one that is still placing a
  batch when the interpreter goes away can bring the process down with it. Where a process that reads is killed, others
  start at the batch that is wanted, which changes nothing of what comes; one that dies of the same batch again and
  again ends it all.

  Args:
    start_at: The iterator, with `close`, whose first batch has this number.
  """
  return _Numbered(start_at)


class _Numbered(grain.IterDataset):
  def __init__(self, start_at: Callable[[int], Any]):
    super().__init__()
    self._start_at = start_at

  def __iter__(self) -> Any:
    iterator = _Iterator(self._start_at)
    # The finalizer runs at exit. It must not keep the iterator alive, which closes itself when nobody holds it.
    weakref.finalize(iterator, _close, weakref.ref(iterator))
    return iterator


class _Iterator(grain.DatasetIterator):
  def __init__(self, start_at: Callable[[int], Any]):
    super().__init__()
    self._start_at, self._number, self._batches = start_at, 0, None

  def __next__(self) -> Any:
    self._assert_not_closed()
    for deaths in range(1, DEATHS + 1):
      if self._batches is None:
        self._batches = self._start_at(self._number)
      try:
        batch = next(self._batches)
      except RuntimeError as error:
        self._end()
        self._mourn(error, deaths)
      else:
        self._number += 1
        return batch

  def _mourn(self, error: RuntimeError, deaths: int) -> None:
    """Says that a process has died, or raises what cannot be mended."""
    found = re.search(r"terminated unexpectedly with exit code (-?\d+)", str(error))  # Grain's words
    if found is None:
      raise error
    died = f"a process that reads data has died with exit code {found[1]}, at batch {self._number} or soon after it"
    if deaths == DEATHS:
      raise UserError(
        f"{died}, {deaths} times in a row: take fewer workers if memory is short, or none, which shows the fault."
      ) from error
    warnings.warn(f"{died}: others go on from there.", stacklevel=3)

  def get_state(self) -> dict[str, Any]:
    return {"next_index": self._number}

  def set_state(self, state: dict[str, Any]) -> None:
    self._end()
    self._number = state["next_index"]

  def close(self) -> None:
    self._closed = True
    self._end()

  def _end(self) -> None:
    batches, self._batches = self._batches, None
    if batches is not None:
      batches.close()
      del batches  # its destructor runs now, not at exit without the modules that it takes


def _close(reference: weakref.ref) -> None:
  iterator = reference()
  if iterator is not None:
    iterator.close()
