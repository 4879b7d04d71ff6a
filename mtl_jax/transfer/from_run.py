"""What another run has learned, to begin a new one with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from mtl_jax import shard
from mtl_jax._core.errors import UserError, check_choice, some
from mtl_jax._core.paths import by_path
from mtl_jax.train import best_weights
from mtl_jax.transfer._filled import filled

_TRUNK = ("params/shared/", "state/shared/")


def from_run(
  run_dir: str | Path, parts: Literal["equal", "trunk"] = "equal", *, say: Callable[[str], None] = print
) -> Callable[[Any, Any], tuple[Any, Any]]:
  """The best model of another run, or what fits of it, for `fit(start=)`.

  So a task is added to a trained model: the new run has a net with one more head and begins with all else. With
  `frozen=` the other parameters stay as they are, and with `in_inference` around the trunk its batch statistics, too;
  then the other tasks' predictions are the same to the bit.

  Args:
    run_dir: The run directory of the other run. It is read when the new run begins, so not when that goes on.
    parts: `"equal"`: every array of equal path and shape; `"trunk"`: the shared part, which must be equal as a whole.
    say: Is told in one line what was taken and what was not.

  Returns:
    `start(params, state) -> (params, state)`.

  Raises:
    UserError: From the call of `start`: there is no run or no checkpoint, nothing fits, or the trunk is another.
  """
  check_choice("from_run", "parts", parts, ("equal", "trunk"))

  def start(params: Any, state: Any) -> tuple[Any, Any]:
    given, tree = best_weights(run_dir), {"params": params, "state": state}
    known = by_path(tree)
    fits = {path for path, leaf in known.items() if path in given and given[path].shape == leaf.shape}
    wanted = known if parts == "equal" else [path for path in known if path.startswith(_TRUNK)]
    if parts == "trunk" and (others := [path for path in wanted if path not in fits]):
      raise UserError(f"the trunk of the run in {run_dir} is another: it has no {some(others, 3)} of the shape here.")
    taken = {path: given[path] for path in wanted if path in fits}
    if not taken:
      raise UserError(f"nothing of the run in {run_dir} fits: it has {some(given, 3)}, this net {some(known, 3)}.")
    if shard.is_first():
      say(f"taken from {run_dir}: {_told(taken)}; begun anew: {_told(path for path in known if path not in taken)}.")
    found = filled(tree, taken, f"the run in {run_dir}")
    return found["params"], found["state"]

  return start


def _told(paths: Iterable[str]) -> str:
  """The parts of a net that arrays belong to, and how many.

  >>> _told(["params/shared/a", "params/shared/b", "params/task/x/w"])
  'shared (2 arrays), task/x (1)'
  """
  counts: dict[str, int] = {}
  for path in paths:
    _, kind, *rest = path.split("/")
    part = f"task/{rest[0]}" if kind == "task" and rest else kind
    counts[part] = counts.get(part, 0) + 1
  told = [f"{part} ({count}{'' if i else ' arrays'})" for i, (part, count) in enumerate(counts.items())]
  return some(told) or "nothing"
