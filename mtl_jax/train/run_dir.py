"""The run directory: its configuration, what its data are, and the rules by which a run may start or go on in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mtl_jax import shard
from mtl_jax._core.errors import UserError, some
from mtl_jax._core.files import holds_more_than, locked, using
from mtl_jax.data import description
from mtl_jax.data.description import Description
from mtl_jax.train._fingerprint import differences
from mtl_jax.train.environment import environment
from mtl_jax.train.log import changed_settings, flatten, write_json

CONFIG = "config.json"
DATA = "data.json"
FINGERPRINT = "fingerprint.json"
ENVIRONMENT = "environment.json"
MODEL = "model"
"""The key for what a directory that holds a model alone, and no checkpoints, says of it."""
RESUMED = "resumed"
"""The key for the list of `{"step": where the run went on, "steps": [before, after], "changed": what else}`, of no
meaning to the run."""
STEPS = ("steps", "fit/steps")
"""What may change when a run goes on."""
WITH_STEPS = ("fit/best_from",)
"""What may then change with it, since it may be a share of the steps."""

Resume = bool | str
"""Whether a run may go on; "anyway": even where it is not the one that was started."""


@contextlib.contextmanager
def open_run(
  run_dir: Path, config: Mapping[str, Any], resume: Resume, data: Description, fingerprint: Mapping[str, Any]
) -> Iterator[None]:
  """Creates the run directory with what is known of the run, or checks that its run may go on; holds it meanwhile.

  Several processes look at the same directory; process 0 makes and locks it.

  Args:
    run_dir: The directory.
    config: What determines the run, as JSON; in `config.json`.
    resume: Go on with the run in the directory; a run that never started starts.
    data: Of the training data, in `data.json`. A run of an older version, which has none, gets it when it goes on.
    fingerprint: Of the training data and the optimizer, in `fingerprint.json`; likewise. Versions and devices are kept
      in `environment.json`.

  Yields:
    None; other processes cannot open the run until then.

  Raises:
    UserError: The directory holds a run and `resume` is false; it holds something else; another process has it open;
      it cannot be written to; the run was started with data of another description (the keys that differ are named);
      or, unless `resume` is "anyway", with another configuration, other data or another optimizer.
  """
  with contextlib.ExitStack() as held:
    _check(run_dir, config, resume, data, fingerprint)
    shard.wait_for_all("run directory checked")  # before one of them makes it
    if shard.is_first():
      held.enter_context(locked(run_dir))
      _check(run_dir, config, resume, data, fingerprint)  # once more: now nobody else makes it
      if not _holds_run(run_dir):
        write_json(run_dir / CONFIG, config)
      for name, value in ((DATA, data.as_json()), (FINGERPRINT, fingerprint), (ENVIRONMENT, environment())):
        if not (run_dir / name).exists():
          write_json(run_dir / name, value)
    shard.wait_for_all("run directory made")
    yield


def _holds_run(run_dir: Path) -> bool:
  with using(run_dir):
    return (run_dir / CONFIG).exists()


def _check(
  run_dir: Path, config: Mapping[str, Any], resume: Resume, data: Description, fingerprint: Mapping[str, Any]
) -> None:
  with using(run_dir):
    if run_dir.exists() and not run_dir.is_dir():
      raise UserError(f"{run_dir} is a file, expected a directory: choose another one.")
    if _holds_run(run_dir):
      if not resume:
        raise UserError(f"{run_dir} already holds a run: resume it (--resume) or choose another directory.")
      if read_model(run_dir) is not None:
        raise UserError(f"{run_dir} holds a model alone: begin a new run with it (--init-from {run_dir}).")
      if (run_dir / DATA).exists():
        check_data(run_dir, data)
      if resume != "anyway":
        _check_same(run_dir, config, fingerprint)
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
  config = read_json(path, "")
  if not isinstance(config, dict):
    raise UserError(f"{path} holds {type(config).__name__}, expected an object with the configuration of a run.")
  return config


def tasks_of(run_dir: Path) -> list[str]:
  """The tasks of a run, in the order of its state over tasks.

  Raises:
    UserError: The directory holds no run, or one whose configuration names no tasks.
  """
  found = flatten(read_config(run_dir)).get("fit/tasks")
  if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
    raise UserError(f"{run_dir / CONFIG} names no tasks (fit/tasks), found {found!r}: it is of another version.")
  return found


class Model(NamedTuple):
  """What a directory says of the model that it holds alone.

  Attributes:
    step: The step that the model is from.
    tasks: The tasks that it has, of those trained on.
    sha256: Of its file.
  """

  step: int
  tasks: tuple[str, ...]
  sha256: str


def read_model(run_dir: Path) -> Model | None:
  """What a directory says of its model; None of a run, which has checkpoints.

  Raises:
    UserError: The directory holds neither; or what it says is damaged.
  """
  found = read_config(run_dir).get(MODEL)
  if found is None:
    return None
  known = tasks_of(run_dir)
  match found:
    case {"step": int(step), "tasks": [_, *_] as tasks, "sha256": str(sha256)} if all(name in known for name in tasks):
      return Model(step, tuple(tasks), sha256)
  raise UserError(f"{run_dir / CONFIG} describes no model ({MODEL}), found {found!r}: export it anew.")


def read_data(run_dir: Path) -> Description:
  """The description of the data that a run is trained on.

  Raises:
    UserError: There is none, or it is damaged.
  """
  path, anew = run_dir / DATA, "resume the run (--resume), which writes it"
  with using(path):
    if not path.exists():
      raise UserError(f"{run_dir} has no {DATA}, the description of its training data: {anew}.")
  stored = read_json(path, f": delete it and {anew} anew")
  try:
    return description.read(stored)
  except UserError as error:
    raise UserError(f"{path} describes no data ({error}): delete it and {anew} anew.") from error


def read_environment(run_dir: Path) -> dict[str, Any]:
  """What a run was begun with, as `environment` tells; nothing of a run of an older version."""
  path = run_dir / ENVIRONMENT
  match read_json(path, ": delete it") if path.exists() else None:
    case {**found}:
      return found
  return {}


def check_data(run_dir: Path, data: Description) -> None:
  """Fails where data are of another description than those that a run was started with.

  Raises:
    UserError: They are; or the run has no description that can be read.
  """
  if different := description.differences(read_data(run_dir), data):
    raise UserError(f"the run in {run_dir} was started with other data: {some(different)}.")


def read_json(path: Path, advice: str) -> Any:
  """What a file of JSON holds; `advice` ends the message where it holds none."""
  with using(path):
    text = path.read_bytes()
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is not JSON ({error}){advice}.") from error


def _check_same(run_dir: Path, config: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
  """Fails where a run is another than the one that was started.

  With another number of steps the optimizer may be another: its schedule may be one over the steps.
  """
  settings, steps, others = _changed(run_dir, config, fingerprint)
  if settings:
    raise UserError(f"the run in {run_dir} was started with another configuration: {'; '.join(settings)}.")
  if steps:
    others.pop("optimizer", None)
  if others:
    told = "; ".join(f"{what}: {how}" for what, how in others.items())
    raise UserError(
      f"the run in {run_dir} is not this one, {told}: to go on with it all the same, pass resume='anyway' "
      "(--resume-anyway)."
    )


def _changed(
  run_dir: Path, config: Mapping[str, Any], fingerprint: Mapping[str, Any]
) -> tuple[list[str], list[int] | None, dict[str, str]]:
  """What is other than when the run was started: settings, numbers of steps, and data and optimizer."""
  before, now = flatten(read_config(run_dir)), flatten(json.loads(json.dumps(config)))
  different = changed_settings(before, now)
  free = (*STEPS, RESUMED, *(WITH_STEPS if "fit/steps" in different else ()))
  settings = [told for key, told in different.items() if key not in free]
  steps = [before.get("fit/steps"), now["fit/steps"]] if "fit/steps" in different else None
  return settings, steps, differences(_read_fingerprint(run_dir), fingerprint)


def _read_fingerprint(run_dir: Path) -> Mapping[str, Any]:
  """The fingerprint of a run; nothing of one of an older version."""
  path = run_dir / FINGERPRINT
  with using(path):
    if not path.exists():
      return {}
  stored = read_json(path, ": delete it and resume the run (--resume), which writes it anew")
  if not isinstance(stored, dict) or not all(isinstance(part, dict) for part in stored.values()):
    raise UserError(f"{path} holds no fingerprint: delete it and resume the run (--resume), which writes it anew.")
  return stored


def of_run(run_dir: str | Path | None, resume: Resume, option: str) -> int | None:
  """A number among the options of `fit` that the run to resume was started with; None if there is no such run."""
  if run_dir is None or not resume or not _holds_run(Path(run_dir)):
    return None
  found = flatten(read_config(Path(run_dir))).get(f"fit/{option}")
  return found if isinstance(found, int) else None


def go_on(
  run_dir: Path, config: Mapping[str, Any], step: int, fingerprint: Mapping[str, Any], warn: Callable[[str], None]
) -> None:
  """Writes down, and tells, what is other from now on in a run that goes on after `step`.

  Raises:
    UserError: The run has done more steps already.
  """
  settings, steps, others = _changed(run_dir, config, fingerprint)
  if config["fit"]["steps"] < step:
    least = f"so steps cannot be {config['fit']['steps']}: choose more."
    raise UserError(f"the run in {run_dir} has done {step} steps already, {least}")
  if steps and others.get("optimizer"):
    others["optimizer"] = f"a schedule over the steps was one over {steps[0]} steps and is one over {steps[1]} steps"
  changed = [*settings, *(f"{what}: {how}" for what, how in others.items())]
  if changed:
    warn(f"from step {step} on the run in {run_dir} is another, {'; '.join(changed)}.")
  shard.wait_for_all("changes of the run told")  # before one of them writes them down
  if fingerprint != _read_fingerprint(run_dir) and shard.is_first():
    write_json(run_dir / FINGERPRINT, fingerprint)
  if (steps or changed) and shard.is_first():
    news = {"step": step, **({"steps": steps} if steps else {}), **({"changed": changed} if changed else {})}
    resumed = [*read_config(run_dir).get(RESUMED, []), news]
    write_json(run_dir / CONFIG, {**config, RESUMED: resumed})


def check_tasks(run_dir: Path, notes: Mapping[str, Any], tasks: list[str]) -> None:
  """Fails where the state over tasks in a checkpoint, with these notes, is in another order than `tasks`."""
  if notes["tasks"] != tasks:
    raise UserError(f"the checkpoint in {run_dir} has the tasks in the order {notes['tasks']}, expected {tasks}.")
