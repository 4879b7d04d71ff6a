"""The run directory: its configuration, and the rules by which a run may start or go on in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl_jax import shard
from mtl_jax._errors import UserError
from mtl_jax.train._log import flatten, write_json

CONFIG = "config.json"


def open_run(run_dir: Path, config: Mapping[str, Any], resume: bool) -> None:
  """Creates the run directory with its `config.json`, or checks that the run in it may go on.

  Several processes look at the same directory; process 0 makes it.

  Args:
    run_dir: The directory.
    config: What determines the run, as JSON.
    resume: Go on with the run in the directory; a run that never started starts.

  Raises:
    UserError: The directory holds a run and `resume` is false; it holds something else; or the run was started with
      another configuration (the keys that differ are named).
  """
  path = run_dir / CONFIG
  if path.exists():
    if not resume:
      raise UserError(f"{run_dir} already holds a run: resume it (--resume) or choose another directory.")
    _check_same(run_dir, read_config(run_dir), json.loads(json.dumps(config)))
  elif run_dir.exists() and any(run_dir.iterdir()):
    raise UserError(f"{run_dir} is not empty and holds no run (no {CONFIG}): choose another directory.")
  shard.wait_for_all("run directory checked")  # before one of them makes it
  if shard.is_first() and not path.exists():
    run_dir.mkdir(parents=True, exist_ok=True)
    write_json(path, config)
  shard.wait_for_all("run directory made")


def read_config(run_dir: Path) -> dict[str, Any]:
  """The configuration of a run.

  Raises:
    UserError: The directory holds no run.
  """
  path = run_dir / CONFIG
  if not path.exists():
    raise UserError(f"{run_dir} holds no run: there is no {CONFIG} in it.")
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise UserError(f"{path} is not JSON: {error}.") from error


def _check_same(run_dir: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
  before, now = flatten(old), flatten(new)
  different = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
  if different:
    told = "; ".join(f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in different)
    raise UserError(f"the run in {run_dir} was started with another configuration: {told}.")
