"""What a run keeps of its best model beside the weights: what calibrates its outputs, and its test scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax.train.log import write_json
from mtl_jax.train.run_dir import read_json

CALIBRATION = "calibration.json"
TEST = "test.json"


def write_calibration(run_dir: Path, step: int, values: Mapping[str, Mapping[str, float]]) -> None:
  """Keeps what calibrates the outputs of the model of a step, `{task: {name: value}}`."""
  write_json(run_dir / CALIBRATION, {"step": step, "tasks": values})


def read_calibration(run_dir: Path, step: int) -> dict[str, dict[str, float]]:
  """What calibrates the outputs of the model of a step; nothing where the run has it for another one, or not yet.

  Raises:
    UserError: The file is damaged.
  """
  path = run_dir / CALIBRATION
  if not path.exists():
    return {}
  stored: Any = read_json(path, ": delete it, and outputs are not calibrated")
  try:
    values = {name: {key: float(v) for key, v in own.items()} for name, own in stored["tasks"].items()}
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise UserError(f"{path} holds no calibration: delete it, and outputs are not calibrated.") from error
  return values if stored.get("step") == step else {}


def write_test(run_dir: Path, step: int, values: Mapping[str, Mapping[str, float]]) -> None:
  """Keeps what the model of a step reaches on the test data, `{task: {metric: value}}`."""
  write_json(run_dir / TEST, {"best_step": step, "test": values})


def read_test(run_dir: Path, step: int | None = None) -> dict[str, dict[str, float]]:
  """What the model of a step, or None: the best one, reaches on the test data; nothing where that is not known."""
  path = run_dir / TEST
  match read_json(path, ": delete it") if path.exists() else None:
    case {"best_step": found, "test": {**values}} if step in (None, found):
      return values
  return {}
