"""Some examples of a source, as a source."""

from __future__ import annotations

from typing import Any

import numpy as np

from mtl_jax.data.source.protocol import Source, reading_of


class Chosen:
  """The examples of these numbers, in their order; what is not asked for is not read.

  >>> from mtl_jax.data.source.in_memory import InMemory
  >>> some = Chosen(InMemory({"x": [5, 6, 7]}), np.array([2, 0]))
  >>> len(some), some.rows(np.array([0, 1, 2]))["x"]
  (2, array([7, 5, 7]))
  """

  def __init__(self, source: Source, numbers: np.ndarray):
    """Of a source, by numbers (N,) below its length; a number may be there twice."""
    self._source, self._numbers = source, numbers
    self.spec, self.reading = source.spec, reading_of(source)

  def __len__(self) -> int:
    return len(self._numbers)

  def rows(self, numbers: np.ndarray) -> Any:
    """The examples of these numbers, in epoch e of the source for those of epoch e."""
    epochs, own = np.divmod(numbers, len(self))
    return self._source.rows(self._numbers[own] + epochs * len(self._source))
