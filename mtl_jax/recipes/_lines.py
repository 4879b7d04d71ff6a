"""What recipes that read users' files share: lines of JSON, lines of text, and that there are no labels in them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.files import replacing, using
from mtl_jax._core.finite import finite
from mtl_jax.data import text
from mtl_jax.recipes._recipe import Predicted
from mtl_jax.tasks import Task


def write_lines(path: Path, predicted: Predicted) -> None:
  """Writes a line of JSON per example; numbers that are not finite as null.

  Args:
    path: The file.
    predicted: The examples.

  Raises:
    UserError: The file cannot be written.
  """
  write_records(path, predicted.records())


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
  """The same of records."""
  with using(path), replacing(path) as partial, partial.open("w") as file:
    file.writelines(json.dumps(finite(record), ensure_ascii=False) + "\n" for record in records)


def refuse_labels(path: Path, tasks: Sequence[str], what: str) -> None:
  """Raises a `UserError` where labels of tasks are asked of files that have none, such as `what`, photographs."""
  if tasks:
    raise UserError(f"{path}: {what} no labels: to test a model, put both in an .npz file.")


def named(task: Task, classes: Sequence[Any]) -> Task:
  """A task of classes that says which an example is of, and how probable that is; of a row of several the first."""

  def record(outputs: Mapping[str, Any]) -> dict[str, Any]:
    number = int(np.atleast_1d(outputs["class"])[0])
    shares = np.atleast_2d(outputs["probability"])[0]
    probable = shares[number] if len(shares) > 1 else abs(1 - number - shares[0])  # of two classes that of the second
    return {"class": classes[number], "probability": round(float(probable), 4)}

  return dataclasses.replace(task, record=record)


def sentences_of(
  path: Path,
  split: Callable[[Sequence[str]], Sequence[Any]],
  length: int,
  told: Callable[[str, int], str],
  warn: Callable[[str], None] | None,
) -> dict[str, tuple[str, Any]]:
  """The lines of users' text, and what each is split into.

  Args:
    path: As in `mtl.data.text.read_lines`.
    split: Makes words or tokens of each of the lines.
    length: The most of them in a line.
    told: `told(name, count)`, what is said of a line that has none or too many.
    warn: Is told of each line that cannot be used, which is then left out; None: that is an error.

  Returns:
    `{name: (line, parts)}`.

  Raises:
    UserError: As in `read_lines`; a line has no parts or too many; or none can be used.
  """
  lines, names = text.read_lines(path, warn)
  found: dict[str, tuple[str, Any]] = {}
  for name, line, parts in zip(names, lines, split(lines), strict=True):
    if 0 < len(parts) <= length:
      found[name] = line, parts
    elif warn is None:
      raise UserError(told(name, len(parts)))
    else:
      warn(told(name, len(parts)))
  if not found:
    raise UserError(f"{path}: none of {len(names)} lines can be read.")
  return found
