"""The best model of a run, wherever that keeps it: for whoever has its net, and as arrays for whoever has not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mtl_jax.train import _in_checkpoints, _in_file
from mtl_jax.train.run_dir import read_model, tasks_of


def best_weights(run_dir: str | Path, *, warn: Callable[[str], None] = warnings.warn) -> dict[str, Any]:
  """Parameters and state of the best model of a run, by their paths.

  Args:
    run_dir: The run directory, finished or not, or the directory of an exported model; nothing in it is changed.
      Neither its net nor its data are needed.
    warn: Is told of checkpoints that are damaged and left out.

  Returns:
    `{path: array}` with paths such as `params/shared/Dense_0/kernel` and `state/task/a/...`.

  Raises:
    UserError: The directory holds no run, or no checkpoint yet.
  """
  run_dir = Path(run_dir)
  tasks_of(run_dir)  # it holds a run
  return _place(run_dir).weights(run_dir, warn)


def best_model(run_dir: Path, make: Callable[[], tuple[Any, Any]], warn: Callable[[str], None]) -> tuple[int, Any, Any]:
  """The step, the parameters and the state of the best model.

  Args:
    run_dir: As in `best_weights`.
    make: Gives parameters and state of such a model; it is traced, not run.
    warn: As in `best_weights`.

  Returns:
    The three.

  Raises:
    UserError: There is no checkpoint yet, or the model is another.
  """
  return _place(run_dir).model(run_dir, make, warn)


def _place(run_dir: Path) -> ModuleType:
  """The module that knows how a directory keeps its model."""
  return _in_checkpoints if read_model(run_dir) is None else _in_file
