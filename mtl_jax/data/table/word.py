"""Columns of words of a set."""

from __future__ import annotations

import dataclasses
import zlib
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mtl_jax.data.table.arrow import arrow
from mtl_jax.data.table.columns import Found, words

if TYPE_CHECKING:
  import pyarrow as pa

UNKNOWN, MISSING = 0, 1  # the first integers of words
_VOCABULARY = 2000
_HASHED = 2**20


@dataclasses.dataclass(frozen=True)
class Word:
  """Words of a set, as integers: 0 is an unknown word, 1 a missing one.

  Attributes:
    known: The words of the training rows that occur more than twice, the most frequent first; empty where they are
      hashed.
    buckets: Into how many integers words are hashed, where there are too many to be listed; 0: they are listed.
  """

  block: ClassVar[str] = "words"
  known: tuple[str, ...]
  buckets: int = 0

  @classmethod
  def fit(cls, values: pa.ChunkedArray, found: Found) -> Word:
    """Learns from training rows."""
    counts = words(values).drop_null().value_counts()
    if len(counts) > _VOCABULARY:
      return cls((), min(_HASHED, 1 << (2 * len(counts) - 1).bit_length()))
    often = [(-n, word) for word, n in _pairs(counts) if n > 2 or len(values) < 100]
    return cls(tuple(word for _, word in sorted(often)))

  @property
  def size(self) -> int:
    """How many integers there are."""
    return 2 + (self.buckets or len(self.known))

  @property
  def told(self) -> str:
    """What the column holds, in words."""
    return "words, hashed" if self.buckets else "words"

  def encode(self, values: pa.ChunkedArray) -> np.ndarray:
    """The integers, (N, 1) int32."""
    pa = arrow()
    coded = words(values).combine_chunks().dictionary_encode()
    own = coded.dictionary.to_pylist()
    if self.buckets:
      places = [2 + zlib.crc32(word.encode()) % self.buckets for word in own]
    else:
      place = {word: 2 + i for i, word in enumerate(self.known)}
      places = [place.get(word, UNKNOWN) for word in own]
    codes = pa.compute.fill_null(coded.indices, len(own)).to_numpy(zero_copy_only=False)
    return np.asarray([*places, MISSING], np.int32)[codes][:, None]


def _pairs(counts: Any) -> list[tuple[str, int]]:
  return list(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
