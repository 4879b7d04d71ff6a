"""What the columns of a table hold: numbers, words, dates or text, told from their values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mtl_jax.data.table.arrow import arrow
from mtl_jax.data.table.curve import Scaling

if TYPE_CHECKING:
  import pyarrow as pa

Kind = Literal["number", "date", "word", "text", "none"]
_NUMBER = r"^[€$£]?\s*([-+]?(?:\d[\d,]*)?\.?\d+(?:[eE][-+]?\d+)?|[-+]?\d[\d,]*\.?)\s*[%€$£]?$"
_DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y")
_IDENTIFIER = re.compile(r"(^|_)(id|uuid|guid|index)$", re.IGNORECASE)
_MOSTLY = 0.95
_WORDS = 4.0  # words per cell, on average, from which a column is text


class Found(NamedTuple):
  """What a column holds.

  Attributes:
    kind: `"number"`, `"date"`, `"word"` (of a set of words, and yes or no), `"text"`, or `"none"`: nothing to learn
      from, such as a column of one value, or one that only names the row.
    note: What a user may want to know of it.
    format: The format of dates in text.
    scaling: How its numbers shall be scaled.
  """

  kind: Kind
  note: str = ""
  format: str | None = None
  scaling: Scaling = "quantile"


def look(values: pa.ChunkedArray, name: str) -> Found:
  """What a column holds.

  Args:
    values: The column.
    name: Its name, which tells identifiers.

  Returns:
    The kind, and what is remarkable.

  >>> pa = arrow()
  >>> look(pa.chunked_array([["1,200", "$7.5", None]]), "price").kind
  'number'
  >>> look(pa.chunked_array([["red", "blue", "red"]]), "colour").kind
  'word'
  """
  pa = arrow()
  kind = values.type
  if pa.types.is_nested(kind):
    return Found("none", f"of type {kind}")
  there = values.drop_null()
  distinct = there.unique()
  if len(distinct) < 2:
    return Found("none", "nothing in it" if not len(distinct) else f"always {distinct[0].as_py()}")
  if pa.types.is_temporal(kind):
    return Found("date")
  if pa.types.is_boolean(kind):
    return Found("word")
  if len(distinct) == len(there) and len(there) >= 20 and _IDENTIFIER.search(name):
    return Found("none", "names the row")
  if not is_text(there):
    return _number(there) if _is_numeric(kind) else Found("none", f"of type {kind}")
  parsed = numbers(distinct)
  count = int(np.isfinite(parsed).sum())
  if count == len(distinct):
    return Found("number")
  for form in _DATES:
    if not pa.compute.strptime(distinct, form, "s", error_is_null=True).null_count:
      return Found("date", format=form)
  if count >= _MOSTLY * len(distinct):
    word = distinct[int(np.flatnonzero(~np.isfinite(parsed))[0])].as_py()
    return Found("number", f"{len(distinct) - count} words such as {word!r} taken as missing")
  if len(distinct) > 0.2 * len(there):
    words = pa.compute.mean(pa.compute.count_substring(distinct, " ")).as_py() + 1
    if words >= _WORDS:
      return Found("text")
    if len(distinct) > 0.95 * len(there) and len(there) >= 100:
      return Found("none", "another word in each row")
  return Found("word")


def _number(values: pa.ChunkedArray) -> Found:
  infinite = int(np.isinf(numbers(values)).sum())
  return Found("number", f"{infinite} infinite values taken as missing" if infinite else "")


def numbers(values: Any) -> np.ndarray:
  """A column as numbers, (N,) float64: of text such as `1,200`, `$7.5` or `45 %` the number; NaN where there is none.

  >>> numbers(arrow().chunked_array([["1,200", "x", "-.5e1", None, "inf"]])).tolist()
  [1200.0, nan, -5.0, nan, nan]
  """
  pa = arrow()
  if not is_text(values):
    return np.asarray(values.cast(pa.float64()).to_numpy(), np.float64)
  text = pa.compute.if_else(pa.compute.match_substring_regex(values, _NUMBER), values, None)
  found = pa.compute.replace_substring_regex(text, _NUMBER, r"\1")
  return np.asarray(pa.compute.replace_substring(found, ",", "").cast(pa.float64()).to_numpy(zero_copy_only=False))


def dates(values: Any, form: str | None) -> np.ndarray:
  """A column of dates as days since 1970, (N,) float64; NaN where there is none."""
  pa = arrow()
  if is_text(values):
    values = pa.compute.strptime(values, form or _DATES[0], "s", error_is_null=True)
  seconds = values.cast(pa.timestamp("s"), safe=False).cast(pa.int64()).cast(pa.float64())
  return np.asarray(seconds.to_numpy(zero_copy_only=False), np.float64) / 86_400


def words(values: Any) -> Any:
  """A column as text, as it is compared with known words: yes and no of any type are `true` and `false`."""
  pa = arrow()
  return values if is_text(values) else values.cast(pa.large_string())


def is_text(values: Any) -> bool:
  """Whether a column holds text."""
  pa = arrow()
  kinds = (pa.types.is_string, pa.types.is_large_string)
  return any(kind(values.type) for kind in kinds)


def _is_numeric(kind: Any) -> bool:
  pa = arrow()
  return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
