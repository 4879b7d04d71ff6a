"""Batches whose only state is the number of the next, and whose threads end before the interpreter does."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import grain


def numbered(start_at: Callable[[int], Any]) -> grain.IterDataset:
  """The data set whose iterators give what `start_at(0)` gives, and go on anywhere by `start_at(number)`.

  The state is the same however many threads or processes read, so a run may go on with others. Iterators are closed
  when the interpreter exits, if not before: Grain's prefetching threads are daemons, and one that is still placing a
  batch when the interpreter goes away can bring the process down with it.

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
    if self._batches is None:
      self._batches = self._start_at(self._number)
    batch = next(self._batches)
    self._number += 1
    return batch

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
