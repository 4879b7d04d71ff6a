"""`Preparation`, all that is learned from the training rows of a table to make arrays of any of its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mtl_jax._core.errors import UserError, check_choice, nearest
from mtl_jax.data.table.arrow import column
from mtl_jax.data.table.columns import dates, is_text, look, numbers
from mtl_jax.data.table.curve import SCALINGS, Curve, Scaling
from mtl_jax.data.table.encoders import KINDS, Column, Number, Text, Word
from mtl_jax.data.table.origin import Origin, origin_of
from mtl_jax.data.table.target import Target, Type
from mtl_jax.data.table.targets import check_named, fit_target

if TYPE_CHECKING:
  import pyarrow as pa

_CLASSES: dict[str, Any] = {kind.__name__: kind for kind in (Number, Word, Text)}
_STRAY = 0.05  # of the cells of a column of numbers may be words before the column is refused


class Preparation(NamedTuple):
  """What is learned from the training rows, plain JSON: a run keeps it in `data.json`.

  Attributes:
    columns: How each column that is read becomes numbers or integers.
    targets: The columns to be predicted.
    notes: What is remarkable of columns, and why those are not read that hold nothing to learn from.
  """

  columns: dict[str, Column]
  targets: dict[str, Target]
  notes: dict[str, str]

  def inputs(self, table: pa.Table, what: Origin) -> dict[str, np.ndarray]:
    """What the network reads of a table.

    Args:
      table: Any rows; columns in any order, others are not looked at.
      what: Where the rows are from, for messages.

    Returns:
      Those of these that there are columns for: `"numbers"` (N, F) float32 and `"missing"` (N, F), True where a number
      is missing and 0 stands in its place; `"words"` (N, C) int32; and `"tokens"` (N, K, L) int32.

    Raises:
      UserError: A column is missing, or has words in place of numbers.
    """
    found: dict[str, list[np.ndarray]] = {}
    for name, kind in self.columns.items():
      values = column(table, name, str(what))
      if isinstance(kind, Number):
        _check_numbers(values, kind, name, what)
      found.setdefault(kind.block, []).append(kind.encode(values))
    blocks = {block: np.concatenate(parts, axis=1) for block, parts in found.items() if block != "tokens"}
    if "numbers" in blocks:
      blocks["missing"] = np.isnan(blocks["numbers"])
      blocks["numbers"] = np.nan_to_num(blocks["numbers"], nan=0.0)
    if "tokens" in found:
      longest = max(part.shape[1] for part in found["tokens"])
      padded = [np.pad(part, ((0, 0), (0, longest - part.shape[1]))) for part in found["tokens"]]
      blocks["tokens"] = np.stack(padded, axis=1)
    return blocks

  def curves(self) -> tuple[np.ndarray, np.ndarray]:
    """Knots and heights of all numbers, (F, Q) each; shorter curves go on where they end."""
    found = [curve for kind in self.columns.values() if isinstance(kind, Number) for curve in kind.curves]
    longest = max((len(curve.knots) for curve in found), default=0)

    def padded(values: Sequence[Sequence[float]]) -> np.ndarray:
      rows = [[*one, *[one[-1]] * (longest - len(one))] for one in values]
      return np.asarray(rows, np.float32).reshape(len(found), longest)

    return padded([curve.knots for curve in found]), padded([curve.heights for curve in found])

  def indicated(self) -> tuple[int, ...]:
    """Which of the numbers are of columns that lack some in training."""
    kinds = [kind for kind in self.columns.values() if isinstance(kind, Number)]
    starts = np.cumsum([0, *(len(kind.curves) for kind in kinds)]).tolist()
    return tuple(start for start, kind in zip(starts, kinds, strict=False) if kind.has_missing)

  def sizes(self, block: str) -> tuple[int, ...]:
    """How many integers there are for each column.

    Args:
      block: `"words"` or `"tokens"`.

    Returns:
      One number per column.
    """
    return tuple(kind.size for kind in self.columns.values() if not isinstance(kind, Number) and kind.block == block)

  def answers(self, outputs: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """What a user reads of predictions, a column each: classes by their words, `TARGET_probability` and the like.

    Args:
      outputs: What the tasks' `output` gives, `{target: {name: (N, ...)}}`.

    Returns:
      `{column: (N,)}`.
    """
    return {key: values for name, own in outputs.items() for key, values in self.targets[name].answers(own).items()}

  def arrays(self, table: pa.Table, what: Origin, targets: Sequence[str] | None = None) -> dict[str, Any]:
    """The examples of a table.

    Args:
      table: Any rows.
      what: Where the rows are from, for messages.
      targets: Those whose labels are wanted; None: all.

    Returns:
      The inputs as `x`, and the labels, `{key: (N, ...)}`.

    Raises:
      UserError: As in `inputs` and `Target.labels`.
    """
    found: dict[str, Any] = {"x": self.inputs(table, what)}
    for name in self.targets if targets is None else targets:
      found |= self.targets[name].labels(table, what)
    return found

  def as_json(self) -> dict[str, Any]:
    """The preparation as JSON."""
    columns = {name: {"class": type(kind).__name__, **dataclasses.asdict(kind)} for name, kind in self.columns.items()}
    targets = {name: dataclasses.asdict(one) for name, one in self.targets.items()}
    return {"columns": columns, "targets": targets, "notes": self.notes}


def fit(
  table: pa.Table,
  train: np.ndarray,
  targets: Mapping[str, Type | None],
  ignore: Sequence[str] = (),
  what: Origin | None = None,
  scaling: Scaling = "quantile",
) -> Preparation:
  """Learns from the training rows how a table becomes arrays.

  Args:
    table: All rows.
    train: The numbers of those to learn from.
    targets: The columns to be predicted and their types, None where the values tell.
    ignore: Columns that are not read.
    what: Where the rows are from, for messages; None: nowhere else.
    scaling: `"quantile"`: numbers become normally distributed; `"standard"`: of mean 0 and standard deviation 1.

  Returns:
    The preparation.

  Raises:
    UserError: An unknown scaling or column, a target that cannot be learned, or no column to learn from.
  """
  what = origin_of("the table", table.num_rows, 0, "row") if what is None else what
  check_choice("table.fit", "scaling", scaling, SCALINGS)
  check_named(list(targets), table, what)
  for name in ignore:
    if name not in table.column_names:
      raise UserError(f"{what}: there is no column {name!r} to ignore{nearest(name, table.column_names)}.")
  known = {name: fit_target(name, kind, table, train, what) for name, kind in targets.items()}
  rows = table.take(train)
  found = {name: look(rows[name], name) for name in table.column_names if name not in (*targets, *ignore)}
  read = {name: one._replace(scaling=scaling) for name, one in found.items() if one.kind != "none"}
  columns = {name: KINDS[one.kind].fit(rows[name], one) for name, one in read.items()}
  if not columns:
    raise UserError(f"{what}: no column is left to learn from beside the targets {', '.join(targets)}.")
  notes = {name: f"{'' if name in columns else 'not read: '}{one.note}" for name, one in found.items() if one.note}
  return Preparation(columns, known, notes)


def read(stored: Mapping[str, Any]) -> Preparation:
  """The preparation that a JSON value holds.

  Args:
    stored: From `Preparation.as_json`.

  Returns:
    The preparation.

  Raises:
    UserError: It holds none.
  """
  try:
    columns = {name: _column(dict(one)) for name, one in stored["columns"].items()}
    targets = {name: Target(**{key: _tupled(v) for key, v in one.items()}) for name, one in stored["targets"].items()}
  except (KeyError, TypeError, AttributeError) as error:
    raise UserError(f"the preparation of the table cannot be read ({type(error).__name__}: {error}).") from error
  return Preparation(columns, targets, dict(stored.get("notes", {})))


def _column(stored: dict[str, Any]) -> Column:
  kind = _CLASSES[stored.pop("class")]
  if "curves" in stored:
    stored["curves"] = tuple(Curve(tuple(one["knots"]), tuple(one["heights"])) for one in stored["curves"])
  return kind(**{key: _tupled(value) for key, value in stored.items()})


def _tupled(value: Any) -> Any:
  return tuple(value) if isinstance(value, list) else value


def _check_numbers(values: pa.ChunkedArray, kind: Number, name: str, what: Origin) -> None:
  """Raises a `UserError` for a column of numbers, or dates, that holds other words for the most part."""
  if not is_text(values):
    return
  read = dates(values, kind.format) if kind.is_date else numbers(values)
  wrong = np.flatnonzero(values.combine_chunks().is_valid().to_numpy(zero_copy_only=False) & np.isnan(read))
  if len(wrong) > _STRAY * len(values):
    row, expected = int(wrong[0]), f"dates like {kind.format}" if kind.is_date else "numbers"
    raise UserError(
      f"{what.at(row)}, column {name!r}: found {values[row].as_py()!r}, and no {expected.split()[0]} in {len(wrong)} "
      f"of {len(values)} rows, expected {expected}, as in training."
    )
