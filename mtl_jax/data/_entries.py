"""Data sets of many equal entries, such as the labels of many tasks, whose batches are few arrays."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mtl_jax._core.packed import Packed, groups_of, packed
from mtl_jax.data.source.in_memory import InMemory
from mtl_jax.data.source.protocol import Source


def packing(source: Source) -> Source:
  """The source whose batches hold equal entries of arrays in memory in one array each, (B, K, ...); else itself.

  They are copied once, so that a batch is one look-up for all of them.
  """
  if not isinstance(source, InMemory):
    return source
  groups = groups_of(source.arrays)
  return _Packing(source, groups) if any(names[1:] for names in groups) else source


class _Packing:
  def __init__(self, source: InMemory, groups: list[tuple[str, ...]]):
    self._arrays, self._size = packed(source.arrays, groups, axis=1), len(source)
    # One example's shapes; the axis is that of a batch.
    self.spec: Packed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self._arrays)

  def __len__(self) -> int:
    return self._size

  def rows(self, numbers: np.ndarray) -> Any:
    """The examples of these numbers."""
    return jax.tree.map(lambda leaf: leaf[numbers % self._size], self._arrays)
