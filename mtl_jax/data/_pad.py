"""`pad_batches`, evaluation batches of one shape in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.source.convert import as_source
from mtl_jax.data.source.protocol import read


def pad_batches(data: Any, batch_size: int) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
  """All examples once and in order, in batches of one size, so that a jitted evaluation compiles once.

  Args:
    data: `{key: (N, ...)}`, all of the same length, entries may be trees of arrays; or whatever else `as_source` takes.
    batch_size: B.

  Returns:
    An iterator of (batch, valid): `{key: (B, ...)}`, the last one filled up by repeating the last example, and (B,)
    float32, 1 for examples and 0 for filling. Multiply masks by `valid`.

  Raises:
    UserError: No examples, arrays of different lengths or a batch size below 1.

  >>> for batch, valid in pad_batches({"x": np.arange(3)}, 2):
  ...   print(batch["x"], valid)
  [0 1] [1. 1.]
  [2 2] [1. 0.]
  """
  source = as_source(data)
  size = len(source)
  if batch_size < 1:
    raise UserError(f"batch_size is {batch_size}, expected at least 1.")

  def generate():
    for start in range(0, size, batch_size):
      rows = np.arange(start, start + batch_size)
      yield read(source, np.minimum(rows, size - 1)), (rows < size).astype(np.float32)

  return generate()
