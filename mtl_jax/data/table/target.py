"""`Target`, a column to be predicted: its classes or its scale, labels, task and answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mtl_jax._core.errors import UserError, some
from mtl_jax.data.table.arrow import arrow, column
from mtl_jax.data.table.columns import numbers, words
from mtl_jax.data.table.origin import Origin
from mtl_jax.tasks import Task, balanced_weights, binary, classification, regression

if TYPE_CHECKING:
  import pyarrow as pa

Type = Literal["classification", "regression"]


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
    return "classes " + some(f"{word} ({count})" for word, count in zip(self.classes, self.counts, strict=True))

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
    found, there = self._codes(values, what) if self.classes else self.numbers(values, what)
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

  def task(self, class_weights: bool = False, focal: float = 0.0) -> Task:
    """The task.

    Args:
      class_weights: Let rare classes count as much as frequent ones.
      focal: Of classes, as in `mtl.tasks.classification`.

    Returns:
      The task.
    """
    label, mask = self.keys
    if self.type == "regression":
      return regression(label, mask=mask, mean=self.mean, std=self.std)
    weights = balanced_weights(np.repeat(np.arange(len(self.counts)), self.counts)) if class_weights else None
    if len(self.classes) == 2:
      return binary(label, mask=mask, class_weights=weights, focal=focal)
    return classification(label, len(self.classes), mask=mask, class_weights=weights, focal=focal)

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

  def numbers(self, values: pa.ChunkedArray, what: Origin) -> tuple[np.ndarray, np.ndarray]:
    """The column as numbers, and which rows have one.

    Args:
      values: The column.
      what: Where the rows are from, for messages.

    Returns:
      The numbers (N,), 0 where there is none, and where there is one (N,).

    Raises:
      UserError: A value that is there is no finite number.
    """
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
