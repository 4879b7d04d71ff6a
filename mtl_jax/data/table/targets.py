"""The columns of a table that are to be predicted: their classes or their scale, labels and tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mtl_jax._core.errors import UserError, check_choice, nearest
from mtl_jax.data.table.columns import is_text, numbers, words
from mtl_jax.data.table.frame import arrow, column
from mtl_jax.data.table.origin import Origin
from mtl_jax.tasks import Task, binary, classification, regression

if TYPE_CHECKING:
  import pyarrow as pa

Type = Literal["classification", "regression"]
_FEW = 20  # numbers of so many values at most, all whole, are classes


@dataclasses.dataclass(frozen=True)
class Target:
  """A column to be predicted.

  Attributes:
    name: The column.
    type: `"classification"` or `"regression"`.
    classes: The classes, as text, in order.
    counts: How many training rows have each class.
    mean: The mean of the training rows, in the column's unit.
    std: Their standard deviation.
    masked: Whether rows may lack it.
  """

  name: str
  type: Type
  classes: tuple[str, ...] = ()
  counts: tuple[int, ...] = ()
  mean: float = 0.0
  std: float = 1.0
  masked: bool = False

  @property
  def outputs(self) -> int:
    """How many numbers the network gives: one, or for more than two classes one each."""
    return len(self.classes) if len(self.classes) > 2 else 1

  @property
  def told(self) -> str:
    """What is predicted, in words."""
    if not self.classes:
      return f"numbers, mean {self.mean:.4g}, standard deviation {self.std:.4g}"
    known = list(zip(self.classes, self.counts, strict=True))
    rest = f" and {len(known) - 6} more" if len(known) > 6 else ""
    return "classes " + ", ".join(f"{word} ({count})" for word, count in known[:6]) + rest

  @property
  def keys(self) -> tuple[str, str | None]:
    """The entries of the data with its labels and, where rows may lack it, with their mask."""
    return self.name, f"has_{self.name}" if self.masked else None

  def labels(self, table: pa.Table, what: Origin) -> dict[str, np.ndarray]:
    """The labels of a table.

    Args:
      table: Any rows.
      what: Where the rows are from, for messages.

    Returns:
      The labels, (N,), by the target's name, and where rows may lack them, which have them, (N,), as `has_TARGET`.

    Raises:
      UserError: The column is missing, or holds a class that is not known, or text where numbers are expected.
    """
    values = column(table, self.name, f"{what}, target {self.name!r}")
    found, there = self._codes(values, what) if self.classes else self._numbers(values, what)
    if not self.masked and not there.all():
      raise UserError(
        f"{what.at(int(np.argmin(there)))}: target {self.name!r} is missing, which it never was in "
        "training: take the row out."
      )
    return {self.name: found, **({f"has_{self.name}": there.astype(np.float32)} if self.masked else {})}

  def answers(self, output: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a user reads of predictions.

    Args:
      output: What the task's `output` gives, `{name: (N, ...)}`.

    Returns:
      `{column: (N,)}`: the class and how probable each is, of two classes the second; or the number.
    """
    if self.type == "regression":
      return {self.name if key == "value" else f"{self.name}_{key}": values for key, values in output.items()}
    found = {self.name: [self.classes[i] for i in np.asarray(output["class"]).tolist()]}
    each = output["probability"]
    if len(self.classes) == 2:
      return found | {f"{self.name}_probability_{self.classes[1]}": each}
    return found | {f"{self.name}_probability_{word}": each[:, i] for i, word in enumerate(self.classes)}

  def task(self, class_weights: bool = False) -> Task:
    """The task.

    Args:
      class_weights: Let rare classes count as much as frequent ones.

    Returns:
      The task.
    """
    label, mask = self.keys
    if self.type == "regression":
      return regression(label, mask=mask, mean=self.mean, std=self.std)
    counts = np.asarray(self.counts, float)
    weights = (counts.sum() / len(counts) / counts).tolist() if class_weights else None
    if len(self.classes) == 2:
      return binary(label, mask=mask, class_weights=weights)
    return classification(label, len(self.classes), mask=mask, class_weights=weights)

  def _codes(self, values: pa.ChunkedArray, what: Origin) -> tuple[np.ndarray, np.ndarray]:
    pa = arrow()
    given = words(values).combine_chunks()
    codes = pa.compute.index_in(given, value_set=pa.array(self.classes, given.type))
    there = given.is_valid().to_numpy(zero_copy_only=False)
    codes = pa.compute.fill_null(codes, -1).to_numpy(zero_copy_only=False)
    unknown = np.flatnonzero(there & (codes < 0))
    if len(unknown):
      row = int(unknown[0])
      raise UserError(
        f"{what.at(row)}: target {self.name!r} is {given[row].as_py()!r}, a class that no training row "
        "has: put it together with another, or take the row out."
      )
    return np.maximum(codes, 0).astype(np.int32), there

  def _numbers(self, values: pa.ChunkedArray, what: Origin) -> tuple[np.ndarray, np.ndarray]:
    found = numbers(values)
    there = values.combine_chunks().is_valid().to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(there & ~np.isfinite(found))
    if len(wrong):
      row = int(wrong[0])
      raise UserError(
        f"{what.at(row)}: target {self.name!r} is {values[row].as_py()!r}, expected a finite number: "
        f"correct it, or predict a class, {self.name}:classification."
      )
    return np.where(there, found, 0.0).astype(np.float32), there


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
    kind: Its type; None: numbers of more than twenty values, or that are not whole, are predicted as such, else
      classes.
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
    found, known = Target(name, kind, masked=masked)._numbers(values, what)
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
  is_number = np.isfinite(found).all() and (len(np.unique(found)) > _FEW or not whole.all())
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
