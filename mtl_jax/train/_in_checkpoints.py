"""The best model of a run, which is a part of its newest checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import unpacked
from mtl_jax.train._leaves import path_of
from mtl_jax.train._packing import packed_heads
from mtl_jax.train.checkpoint import Checkpoints, shapes_of


def model(run_dir: Path, make: Callable[[], tuple[Any, Any]], warn: Callable[[str], None]) -> tuple[int, Any, Any]:
  """The step, the parameters and the state of the best model; nothing else is read.

  Args:
    run_dir: The run directory.
    make: Gives parameters and state of such a model; it is traced, not run.
    warn: Is told of checkpoints that are damaged and left out.

  Returns:
    The three.

  Raises:
    UserError: There is no checkpoint yet, or it is of another model.
  """

  def best(notes: dict[str, Any]) -> dict[str, Any]:
    """The shapes of the best model, where it is."""
    parts = shapes_of(lambda: packed_heads(make(), notes.get("packing", [])))
    return dict(zip(_places(notes), parts, strict=True))

  step, parts, notes = _newest(run_dir, best, Checkpoints.restore_parts, warn)
  params, state = map(unpacked, parts.values())
  return notes["best"]["step"] or step, params, state


def weights(run_dir: Path, warn: Callable[[str], None]) -> dict[str, Any]:
  """Its arrays by their paths, whatever they are.

  Args:
    run_dir: The run directory.
    warn: Is told of checkpoints that are damaged and left out.

  Returns:
    `{path: array}`.

  Raises:
    UserError: There is no checkpoint yet.
  """
  _, leaves, notes = _newest(run_dir, lambda notes: list(_places(notes)), Checkpoints.restore_leaves, warn)
  found = {}
  for place, part in zip(_places(notes), ("params", "state"), strict=True):
    own = {path_of(name[len(place) + 1 :]): leaf for name, leaf in leaves.items() if name.startswith(f"{place}.")}
    found |= {f"{part}/{path}": leaf for path, leaf in _apart(own, notes.get("packing", [])).items()}
  return found


def _newest(
  run_dir: Path,
  choose: Callable[[dict[str, Any]], Any],
  restore: Callable[..., tuple[Any, dict[str, Any]]],
  warn: Callable[[str], None],
) -> tuple[int, Any, dict[str, Any]]:
  """The step of the newest checkpoint, what `restore`, a method of `Checkpoints`, reads of it, and its notes."""
  with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
    found = checkpoints.restore_newest(choose, warn, functools.partial(restore, checkpoints))
  if found is None:
    raise UserError(f"the run in {run_dir} has no checkpoint yet: wait for its first one, or train.")
  return found


def _places(notes: Mapping[str, Any]) -> tuple[str, str]:
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
