"""Arrays in memory as a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax.data.arrays import as_arrays, check_lengths, take
from mtl_jax.data.source.protocol import spec_of_rows


class InMemory:
  """The source of arrays in memory, `{key: (N, ...)}`.

  Raises:
    UserError: No examples, or arrays of different lengths.
  """

  def __init__(self, arrays: Mapping[str, Any]):
    """Reads the arrays, of whatever `np.asarray` takes."""
    self.arrays = as_arrays(arrays)
    self._size = check_lengths(self.arrays)
    self.spec = spec_of_rows(self.arrays)

  def __len__(self) -> int:
    return self._size

  def rows(self, numbers: np.ndarray) -> dict[str, Any]:
    """The examples of these numbers."""
    return take(self.arrays, numbers % self._size)
