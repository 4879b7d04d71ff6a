"""What teachers predict of a data set, computed once, batch by batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax import data
from mtl_jax._core.errors import UserError
from mtl_jax._core.inputs import input_of, keys_read
from mtl_jax.data.arrays import leaves_of
from mtl_jax.tasks import Task
from mtl_jax.train import Trained


def targets_of(teachers: Mapping[str, Trained], source: Any) -> tuple[np.ndarray, ...]:
  """What the teacher of each task predicts of every example, as `Imitation.target` has it, in the order of the tasks.

  Raises:
    UserError: The examples are not such as a teacher was trained on.
  """
  found: dict[str, np.ndarray] = {}
  for teacher in {id(each): each for each in teachers.values()}.values():
    names = [name for name, own in teachers.items() if own is teacher]
    found |= _predicted(teacher, names, source)
  return tuple(found[name] for name in teachers)


def _predicted(teacher: Trained, names: Sequence[str], source: Any) -> dict[str, np.ndarray]:
  teacher = teacher.only(names)
  tasks = {name: _telling(task) for name, task in teacher.problem.tasks.items()}
  run = teacher._replace(problem=dataclasses.replace(teacher.problem, tasks=tasks)).predictor()
  keys = keys_read(teacher.problem.inputs)
  _check(teacher, names, keys, source)
  parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
  for batch, valid in data.pad_batches(source, min(teacher.at_once, len(source))):
    for name, own in run({key: batch[key] for key in keys}).items():
      parts[name].append(own["target"][: int(valid.sum())])
  return {name: np.concatenate(each) for name, each in parts.items()}


def _telling(task: Task) -> Task:
  imitation = task.imitation
  assert imitation is not None
  return dataclasses.replace(task, output=lambda prediction: {"target": imitation.target(prediction)})


def _check(teacher: Trained, names: Sequence[str], keys: Sequence[str], source: Any) -> None:
  """Raises a `UserError` where the examples have other inputs than those that a teacher was trained on."""
  known = teacher.entries()
  wanted, found = (leaves_of({key: input_of(spec, key, "data") for key in keys}) for spec in (known, source.spec))
  for path in wanted | found:
    kinds = [f"{leaf.dtype}{list(leaf.shape)}" if (leaf := of.get(path)) else "missing" for of in (found, wanted)]
    if kinds[0] != kinds[1]:
      told = ", ".join(map(repr, names))
      raise UserError(f"the teacher of {told} was trained on another input {path!r}: {kinds[1]}, found {kinds[0]}.")
