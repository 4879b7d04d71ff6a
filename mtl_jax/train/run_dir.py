"""The run directory: its configuration, what its data are, and the rules by which a run may start or go on in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtl_jax import shard
from mtl_jax._core.errors import UserError, some
from mtl_jax._core.files import holds_more_than, locked, using
from mtl_jax.data import description
from mtl_jax.data.description import Description
from mtl_jax.train.log import flatten, write_json

CONFIG = "config.json"
DATA = "data.json"
RESUMED = "resumed"
"""The key for the list of `{"step": where the run went on, "steps": [before, after]}`, of no meaning to the run."""
STEPS = ("steps", "fit/steps")
"""What may change when a run goes on."""


@contextlib.contextmanager
def open_run(run_dir: Path, config: Mapping[str, Any], resume: bool, data: Description) -> Iterator[None]:
  """Creates the run directory with `config.json` and `data.json`, or checks that its run may go on; holds it meanwhile.

  Several processes look at the same directory; process 0 makes and locks it.

  Args:
    run_dir: The directory.
    config: What determines the run, as JSON.
    resume: Go on with the run in the directory; a run that never started starts.
    data: Of the training data. A run of an older version, which has none, gets it when it goes on.

  Yields:
    None; other processes cannot open the run until then.

  Raises:
    UserError: The directory holds a run and `resume` is false; it holds something else; another process has it open;
      it cannot be written to; or the run was started with another configuration or with data of another description
      (the keys that differ are named).
  """
  with contextlib.ExitStack() as held:
    _check(run_dir, config, resume, data)
    shard.wait_for_all("run directory checked")  # before one of them makes it
    if shard.is_first():
      held.enter_context(locked(run_dir))
      _check(run_dir, config, resume, data)  # once more: now nobody else makes it
      if not _holds_run(run_dir):
        write_json(run_dir / CONFIG, config)
      if not (run_dir / DATA).exists():
        write_json(run_dir / DATA, data.as_json())
    shard.wait_for_all("run directory made")
    yield


def _holds_run(run_dir: Path) -> bool:
  with using(run_dir):
    return (run_dir / CONFIG).exists()


def _check(run_dir: Path, config: Mapping[str, Any], resume: bool, data: Description) -> None:
  with using(run_dir):
    if run_dir.exists() and not run_dir.is_dir():
      raise UserError(f"{run_dir} is a file, expected a directory: choose another one.")
    if _holds_run(run_dir):
      if not resume:
        raise UserError(f"{run_dir} already holds a run: resume it (--resume) or choose another directory.")
      _check_same(run_dir, read_config(run_dir), json.loads(json.dumps(config)))
      if (run_dir / DATA).exists():
        check_data(run_dir, data)
    elif holds_more_than(run_dir, f"{CONFIG}.partial"):
      raise UserError(f"{run_dir} is not empty and holds no run (no {CONFIG}): choose another directory.")


def read_config(run_dir: Path) -> dict[str, Any]:
  """The configuration of a run.

  Raises:
    UserError: The directory holds no run.
  """
  path = run_dir / CONFIG
  if not _holds_run(run_dir):
    raise UserError(f"{run_dir} holds no run: there is no {CONFIG} in it.")
  config = _read_json(path, "")
  if not isinstance(config, dict):
    raise UserError(f"{path} holds {type(config).__name__}, expected an object with the configuration of a run.")
  return config


def read_data(run_dir: Path) -> Description:
  """The description of the data that a run is trained on.

  Raises:
    UserError: There is none, or it is damaged.
  """
  path, anew = run_dir / DATA, "resume the run (--resume), which writes it"
  with using(path):
    if not path.exists():
      raise UserError(f"{run_dir} has no {DATA}, the description of its training data: {anew}.")
  stored = _read_json(path, f": delete it and {anew} anew")
  try:
    return description.read(stored)
  except UserError as error:
    raise UserError(f"{path} describes no data ({error}): delete it and {anew} anew.") from error


def check_data(run_dir: Path, data: Description) -> None:
  """Fails where data are of another description than those that a run was started with.

  Raises:
    UserError: They are; or the run has no description that can be read.
  """
  if different := description.differences(read_data(run_dir), data):
    raise UserError(f"the run in {run_dir} was started with other data: {some(different)}.")


def _read_json(path: Path, advice: str) -> Any:
  with using(path):
    text = path.read_bytes()
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is not JSON ({error}){advice}.") from error


def _check_same(run_dir: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
  before, now = flatten(old), flatten(new)
  different = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
  different = [key for key in different if key not in (*STEPS, RESUMED)]
  if different:
    told = "; ".join(f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in different)
    raise UserError(f"the run in {run_dir} was started with another configuration: {told}.")


def of_run(run_dir: str | Path | None, resume: bool, option: str) -> int | None:
  """A number among the options of `fit` that the run to resume was started with; None if there is no such run."""
  if run_dir is None or not resume or not _holds_run(Path(run_dir)):
    return None
  found = flatten(read_config(Path(run_dir))).get(f"fit/{option}")
  return found if isinstance(found, int) else None


def go_on(run_dir: Path, config: Mapping[str, Any], step: int) -> None:
  """Writes down that the run goes on after `step` with the steps of `config`, if these are others than before.

  Raises:
    UserError: The run has done more steps already.
  """
  old, steps = read_config(run_dir), config["fit"]["steps"]
  if steps < step:
    raise UserError(f"the run in {run_dir} has done {step} steps already, so steps cannot be {steps}: choose more.")
  before = flatten(old).get("fit/steps")
  if steps != before and shard.is_first():
    resumed = [*old.get(RESUMED, []), {"step": step, "steps": [before, steps]}]
    write_json(run_dir / CONFIG, {**config, RESUMED: resumed})


def other_steps(run_dir: Path, config: Mapping[str, Any]) -> tuple[int, int] | None:
  """The steps done and the number planned before, where the run may go on to another number, that of `config`."""
  if not _holds_run(run_dir):
    return None
  old = read_config(run_dir)
  now = json.loads(json.dumps({**config, "steps": old.get("steps")}))
  done = max((int(path.name) for path in (run_dir / "checkpoints").glob("*") if path.name.isdecimal()), default=0)
  if old.get("steps") == config["steps"] or any(old.get(key) != now[key] for key in now) or config["steps"] < done:
    return None
  return done, old["steps"]


def check_tasks(run_dir: Path, notes: Mapping[str, Any], tasks: list[str]) -> None:
  """Fails where the state over tasks in a checkpoint, with these notes, is in another order than `tasks`."""
  if notes["tasks"] != tasks:
    raise UserError(f"the checkpoint in {run_dir} has the tasks in the order {notes['tasks']}, expected {tasks}.")
