"""The best model of a run as arrays by their paths, for whoever has another net."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax.train._leaves import path_of
from mtl_jax.train.checkpoint import Checkpoints
from mtl_jax.train.run_dir import tasks_of


def best_weights(run_dir: str | Path, *, warn: Callable[[str], None] = warnings.warn) -> dict[str, Any]:
  """Parameters and state of the best model of a run, by their paths.

  Args:
    run_dir: The run directory, finished or not; nothing in it is changed. Neither its net nor its data are needed.
    warn: Is told of checkpoints that are damaged and left out.

  Returns:
    `{path: array}` with paths such as `params/shared/Dense_0/kernel` and `state/task/a/...`.

  Raises:
    UserError: The directory holds no run, or no checkpoint yet.
  """
  run_dir = Path(run_dir)
  tasks_of(run_dir)  # it holds a run
  _, leaves, notes = newest(run_dir, lambda notes: list(places_of_best(notes)), Checkpoints.restore_leaves, warn)
  weights = {}
  for place, part in zip(places_of_best(notes), ("params", "state"), strict=True):
    own = {path_of(name[len(place) + 1 :]): leaf for name, leaf in leaves.items() if name.startswith(f"{place}.")}
    weights |= {f"{part}/{path}": leaf for path, leaf in _apart(own, notes.get("packing", [])).items()}
  return weights


def newest(
  run_dir: Path,
  choose: Callable[[dict[str, Any]], Any],
  restore: Callable[..., tuple[Any, dict[str, Any]]],
  warn: Callable[[str], None],
) -> tuple[int, Any, dict[str, Any]]:
  """The step of the newest checkpoint of a run, what `restore`, a method of `Checkpoints`, reads of it, and its notes.

  Raises:
    UserError: There is no checkpoint yet.
  """
  with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
    found = checkpoints.restore_newest(choose, warn, functools.partial(restore, checkpoints))
  if found is None:
    raise UserError(f"the run in {run_dir} has no checkpoint yet: wait for its first one, or train.")
  return found


def places_of_best(notes: Mapping[str, Any]) -> tuple[str, str]:
  """Where parameters and state of the best model are.

  Before an evaluation with a finite score, the last model is the best there is.
  """
  return ("best.0", "best.1") if notes["best"]["step"] else ("train.params", "train.state")


def _apart(leaves: dict[str, Any], groups: list[list[str]]) -> dict[str, Any]:
  """The leaves with those of several heads, which lie in one array under the first of their names, one by one."""
  for names in groups:
    first = f"task/{names[0]}/"
    for path in [path for path in leaves if names[1:] and path.startswith(first)]:
      whole = leaves.pop(path)
      leaves |= {f"task/{name}/{path.removeprefix(first)}": whole[i] for i, name in enumerate(names)}
  return leaves
