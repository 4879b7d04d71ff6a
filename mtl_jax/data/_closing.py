"""Background threads that end before the interpreter does."""

from __future__ import annotations

import weakref
from typing import Any

import grain


def closed_at_exit(ds: grain.IterDataset) -> grain.IterDataset:
  """`ds`, whose iterators are closed when the interpreter exits, if not before.

  Grain's prefetching threads are daemons: a thread that is still placing a batch when the interpreter goes away can
  bring the process down with it.
  """
  return _ClosedAtExit(ds)


class _ClosedAtExit(grain.IterDataset):
  def __iter__(self) -> Any:
    iterator = iter(self._parent)
    # The finalizer runs at exit. It must not keep the iterator alive, which closes itself when nobody holds it.
    weakref.finalize(iterator, _close, weakref.ref(iterator))
    return iterator


def _close(reference: weakref.ref) -> None:
  iterator = reference()
  if iterator is not None:
    iterator.close()
    # Its destructor would close it again, by then without the modules that this takes, and print a traceback.
    iterator.close = lambda: None
