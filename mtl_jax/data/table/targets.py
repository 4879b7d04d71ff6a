"""The columns to be predicted: from words of the user and values of the table to targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from mtl_jax._core.errors import UserError, check_choice, nearest
from mtl_jax.data.table.arrow import arrow, column
from mtl_jax.data.table.columns import is_text, numbers, words
from mtl_jax.data.table.origin import Origin
from mtl_jax.data.table.target import Target, Type

if TYPE_CHECKING:
  import pyarrow as pa

_FEW, _EACH = 20, 3  # whole numbers of at most so many values, each of so many rows on average, are classes


def parse(given: str | Sequence[str] | Mapping[str, str | None]) -> dict[str, Type | None]:
  """Targets and their types from what the user wrote.

  Args:
    given: Names, each with its type behind a colon or not, with commas between them or in a list; or a mapping.

  Returns:
    `{target: type}`, None where the values are to tell.

  Raises:
    UserError: No target, one named twice, or an unknown type.

  >>> parse("income:classification,hours")
  {'income': 'classification', 'hours': None}
  """
  if isinstance(given, Mapping):
    pairs = [(str(name), kind) for name, kind in given.items()]
  else:
    listed = [given] if isinstance(given, str) else list(given)
    entries = [entry.strip() for one in listed for entry in str(one).split(",") if entry.strip()]
    pairs = [(name, kind or None) for name, _, kind in (entry.partition(":") for entry in entries)]
  found: dict[str, Any] = {}
  for name, kind in pairs:
    if kind is not None:
      check_choice(f"target {name!r}", "type", kind, get_args(Type))
    if name in found:
      raise UserError(f"target {name!r} is named twice: name it once.")
    if "/" in name:
      raise UserError(
        f"target {name!r} has a slash in its name, which parameters are told apart by: rename the column."
      )
    found[name] = kind
  if not found:
    raise UserError("no targets: name the columns to be predicted, such as income:classification,hours:regression.")
  return found


def fit_target(name: str, kind: Type | None, table: pa.Table, train: np.ndarray, what: Origin) -> Target:
  """A target's classes or scale.

  Args:
    name: The column.
    kind: Its type; None: whole numbers of at most twenty values, each of three rows on average, and words are classes,
      other numbers are predicted as such.
    table: All rows.
    train: The numbers of the training rows.
    what: Where the rows are from, for messages.

  Raises:
    UserError: The column is missing, has no labels, one value, text where numbers are expected, or a class that no
      training row has.
  """
  values = column(table, name, f"{what}, target {name!r}")
  there = values.drop_null()
  if len(there.unique()) < 2:
    held = "no labels" if not len(there) else f"one value, {there[0].as_py()!r}"
    raise UserError(f"{what}: target {name!r} has {held}, expected at least two values: leave it out.")
  kind = kind or _told(there)
  masked = values.null_count > 0
  own = values.take(train)
  if kind == "regression":
    found, known = Target(name, kind, masked=masked).numbers(values, what)
    seen = found[train][known[train]].astype(np.float64)
    if len(np.unique(seen)) < 2:
      raise UserError(f"{what}: target {name!r} has fewer than two values in the training part: leave it out.")
    return Target(name, kind, mean=float(seen.mean()), std=float(seen.std()), masked=masked)
  counts = {word.as_py(): 0 for word in words(there).unique()}
  for one in words(own).drop_null().value_counts():
    counts[one["values"].as_py()] = one["counts"].as_py()
  if len(counts) > max(100, len(there) // 10):
    raise UserError(
      f"{what}: target {name!r} has {len(counts)} classes in {len(there)} rows, too many to learn: check that it is no "
      "name or number."
    )
  for word, count in counts.items():
    if not count:
      row = words(values).combine_chunks().index(word).as_py()
      raise UserError(
        f"{what.at(row)}: class {word!r} of target {name!r} is in no training row, only in others: put it "
        "together with another class, or take its rows out."
      )
  order = sorted(counts, key=_rank)
  return Target(name, kind, tuple(order), tuple(counts[word] for word in order), masked=masked)


def _told(values: pa.ChunkedArray) -> Type:
  """The type that the values tell."""
  found = numbers(values) if is_text(values) or not arrow().types.is_boolean(values.type) else np.array([np.nan])
  whole = np.isfinite(found) & (found == np.round(found))
  few = len(np.unique(found)) <= min(_FEW, max(2, len(found) / _EACH))
  is_number = np.isfinite(found).all() and not (few and whole.all())
  return "regression" if is_number else "classification"


def _rank(word: str) -> tuple[int, float, str]:
  """Numbers by their size, then words by the alphabet."""
  try:
    return 0, float(word), word
  except ValueError:
    return 1, 0.0, word


def check_named(targets: Sequence[str], table: pa.Table, what: Origin) -> None:
  """Raises a `UserError` for a target that the table does not have."""
  for name in targets:
    if name not in table.column_names:
      known = ", ".join(table.column_names[:8]) + (", ..." if len(table.column_names) > 8 else "")
      raise UserError(f"{what}: there is no target {name!r}{nearest(name, table.column_names)}, only {known}.")
