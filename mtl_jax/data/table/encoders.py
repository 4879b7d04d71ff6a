"""From the columns of a table to arrays: what is learned from the training rows is plain JSON.

Each kind of column is a class with `fit(values, ...)`, which reads training rows; `encode(values)`, which gives the
column's share of the arrays; and fields that JSON holds. `size` says what the network has to know of the share.
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.table.columns import Found, dates, numbers, words
from mtl_jax.data.table.frame import arrow

if TYPE_CHECKING:
  import pyarrow as pa

KNOTS = 100
UNKNOWN, MISSING = 0, 1  # the first integers of words
_VOCABULARY = 2000
_HASHED = 2**20
_TOKENS = 4096
_LENGTH = 64
_YEAR, _WEEK = 365.2425, 7.0


@dataclasses.dataclass(frozen=True)
class Curve:
  """A piecewise linear function of a number, constant beyond its ends: what the network makes of it.

  Attributes:
    knots: Where it bends, ascending.
    heights: Its values there.
  """

  knots: tuple[float, ...]
  heights: tuple[float, ...]


def to_normal(values: np.ndarray) -> Curve:
  r"""The curve that makes the values normally distributed.

  $$ x \mapsto \Phi^{-1}(P(v < x) + P(v = x) / 2) $$

  At the values themselves it is exact where they are few, else linear between a hundred of them.

  Args:
    values: The numbers, (N,), finite, at least two distinct.

  Returns:
    The curve.

  >>> to_normal(np.array([0.0, 0.0, 1.0, 5.0])).knots
  (0.0, 1.0, 5.0)
  """
  from scipy.special import ndtri

  found, counts = np.unique(values, return_counts=True)
  below = (np.cumsum(counts) - counts / 2) / len(values)
  if len(found) > KNOTS:
    kept = np.unique(np.searchsorted(below, np.linspace(below[0], below[-1], KNOTS)))
    found, below = found[kept], below[kept]
  return Curve(tuple(found.tolist()), tuple(ndtri(below).tolist()))


_AS_IT_IS = Curve((-1.0, 1.0), (-1.0, 1.0))


@dataclasses.dataclass(frozen=True)
class Number:
  """Numbers, and days since 1970 of dates, which also have their place in the year, the week and the day.

  Attributes:
    curves: What the network makes of each of the column's numbers.
    offset: What is subtracted, so that float32 tells the numbers apart.
    has_missing: Whether values are missing in training.
    is_date: Whether the column holds dates.
    format: The format of dates in text.
  """

  block: ClassVar[str] = "numbers"
  curves: tuple[Curve, ...]
  offset: float
  has_missing: bool
  is_date: bool = False
  format: str | None = None

  @classmethod
  def fit(cls, values: pa.ChunkedArray, found: Found) -> Number:
    """Learns from training rows."""
    is_date = found.kind == "date"
    given = dates(values, found.format) if is_date else numbers(values)
    there = given[np.abs(given) <= np.finfo(np.float32).max]
    offset = float(np.median(there)) if len(there) and not _told_apart(there) else 0.0
    there = there - offset
    curve = to_normal(there) if len(np.unique(there)) > 1 else Curve((0.0, 1.0), (0.0, 0.0))
    rest = (_AS_IT_IS,) * (6 if is_date else 0)
    return cls((curve, *rest), offset, len(there) < len(given), is_date, found.format)

  @property
  def told(self) -> str:
    """What the column holds, in words."""
    return "dates" if self.is_date else "numbers"

  def encode(self, values: pa.ChunkedArray) -> np.ndarray:
    """The numbers, (N, one per curve) float32; NaN where they are missing."""
    if not self.is_date:
      return _finite(numbers(values) - self.offset)[:, None]
    days = dates(values, self.format)
    phases = 2 * np.pi * np.stack([days / _YEAR, days / _WEEK, days], axis=1)
    return _finite(np.concatenate([(days - self.offset)[:, None], np.sin(phases), np.cos(phases)], axis=1))


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
    library = _tokenizers()
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
    made = _tokenizers().Tokenizer.from_str(self.tokenizer)
    made.enable_truncation(self.length)
    made.enable_padding(length=self.length, pad_id=0, pad_token="[PAD]")
    return np.asarray([one.ids for one in made.encode_batch(values.fill_null("").to_pylist())], np.int32)


Column = Number | Word | Text
KINDS: dict[str, type[Number] | type[Word] | type[Text]] = {
  "number": Number,
  "date": Number,
  "word": Word,
  "text": Text,
}


def _told_apart(values: np.ndarray) -> bool:
  """Whether numbers that differ do so in float32, too."""
  return len(np.unique(values.astype(np.float32))) == len(np.unique(values))


def _finite(values: np.ndarray) -> np.ndarray:
  with np.errstate(over="ignore"):
    cast = values.astype(np.float32)
  return np.where(np.isfinite(cast), cast, np.nan)


def _pairs(counts: Any) -> list[tuple[str, int]]:
  return list(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def _tokenizers() -> Any:
  try:
    import tokenizers
    import tokenizers.models
    import tokenizers.normalizers
    import tokenizers.pre_tokenizers
    import tokenizers.trainers
  except ImportError as error:
    raise UserError(
      "columns of text need an extra: pip install 'mtl-jax[text]'; or leave them out, --ignore COLUMN."
    ) from error
  return tokenizers
