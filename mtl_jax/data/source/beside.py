"""A source whose examples have one more entry, which lies in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax.data.arrays import take
from mtl_jax.data.source.protocol import Reading, Source, reading_of, spec_of_rows


@dataclasses.dataclass(frozen=True)
class Beside:
  """A source with one more entry.

  Attributes:
    source: The source.
    key: The name of the entry.
    entry: Its values for all examples, arrays (N, ...) or a tree of them.
  """

  source: Source
  key: str
  entry: Any

  @property
  def spec(self) -> Mapping[str, Any]:
    """The shapes of one example."""
    return {**self.source.spec, **spec_of_rows({self.key: self.entry})}

  @property
  def reading(self) -> Reading:
    """How the source is read ahead."""
    return reading_of(self.source)

  def __len__(self) -> int:
    return len(self.source)

  def rows(self, numbers: np.ndarray) -> Mapping[str, Any]:
    """The examples of these numbers."""
    return {**self.source.rows(numbers), **take({self.key: self.entry}, numbers % len(self.source))}
