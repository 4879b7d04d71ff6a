"""Columns of numbers and of dates."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mtl_jax.data.table.columns import Found, dates, numbers
from mtl_jax.data.table.curve import SCALINGS, Curve

if TYPE_CHECKING:
  import pyarrow as pa

_YEAR, _WEEK = 365.2425, 7.0
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
    curve = SCALINGS[found.scaling](there) if len(np.unique(there)) > 1 else Curve((0.0, 1.0), (0.0, 0.0))
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


def _told_apart(values: np.ndarray) -> bool:
  """Whether numbers that differ do so in float32, too."""
  return len(np.unique(values.astype(np.float32))) == len(np.unique(values))


def _finite(values: np.ndarray) -> np.ndarray:
  with np.errstate(over="ignore"):
    cast = values.astype(np.float32)
  return np.where(np.isfinite(cast), cast, np.nan)
