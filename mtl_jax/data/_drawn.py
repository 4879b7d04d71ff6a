"""The batches of a stream as a Grain data set."""

from __future__ import annotations

from typing import Any

import grain

from mtl_jax.data.source.stream import Stream


class Drawn(grain.IterDataset):
  """The batches of a stream from one on; it has no state, since a stream cannot go back."""

  def __init__(self, stream: Stream, batch_size: int, start: int):
    """Draws nothing yet."""
    super().__init__()
    self._stream, self._batch_size, self._start = stream, batch_size, start

  def __iter__(self) -> Any:
    """Begins anew and drops the batches before the first."""
    return _Iterator(self._stream.batches(self._batch_size, self._start))


class _Iterator(grain.DatasetIterator):
  def __init__(self, batches: Any):
    super().__init__()
    self._batches = batches

  def __next__(self) -> Any:
    return next(self._batches)

  def get_state(self) -> dict[str, Any]:
    return {}

  def set_state(self, state: dict[str, Any]) -> None:
    raise NotImplementedError
