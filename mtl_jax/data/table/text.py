"""Columns of text."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mtl_jax.data._tokenizers import tokenizers
from mtl_jax.data.table.columns import Found

if TYPE_CHECKING:
  import pyarrow as pa

_TOKENS = 4096
_LENGTH = 64


@dataclasses.dataclass(frozen=True)
class Text:
  """Text as the integers of its tokens, 0 behind its end.

  Attributes:
    tokenizer: The tokenizer, as the JSON of the library `tokenizers`.
    size: How many tokens it knows.
    length: How many tokens of a text are kept.
  """

  block: ClassVar[str] = "tokens"
  told: ClassVar[str] = "text"
  tokenizer: str
  size: int
  length: int

  @classmethod
  def fit(cls, values: pa.ChunkedArray, found: Found) -> Text:
    """Trains a byte-pair encoding on the training rows."""
    library = _library()
    made = library.Tokenizer(library.models.BPE(unk_token="[UNK]"))
    made.normalizer = library.normalizers.Sequence([library.normalizers.NFKC(), library.normalizers.Lowercase()])
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    trainer = library.trainers.BpeTrainer(
      vocab_size=_TOKENS, min_frequency=3, special_tokens=["[PAD]", "[UNK]"], show_progress=False
    )
    there = values.drop_null().to_pylist()
    made.train_from_iterator(there, trainer)
    lengths = [len(one.ids) for one in made.encode_batch(there)] or [1]
    return cls(made.to_str(), made.get_vocab_size(), int(min(_LENGTH, max(1, np.percentile(lengths, 98)))))

  def encode(self, values: pa.ChunkedArray) -> np.ndarray:
    """The tokens, (N, length) int32."""
    made = _library().Tokenizer.from_str(self.tokenizer)
    made.enable_truncation(self.length)
    made.enable_padding(length=self.length, pad_id=0, pad_token="[PAD]")
    return np.asarray([one.ids for one in made.encode_batch(values.fill_null("").to_pylist())], np.int32)


def _library() -> Any:
  return tokenizers("a column of text", "; or leave it out, --ignore COLUMN")
