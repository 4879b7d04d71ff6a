"""What a new run begins with in place of what the net's `init` gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import unpacked
from mtl_jax._core.paths import by_path
from mtl_jax.train._leaves import kinds
from mtl_jax.train._state import TrainState

Start = Callable[[Any, Any], tuple[Any, Any]]


def started(start: Start, state: TrainState, create: Callable[[tuple[Any, Any]], TrainState]) -> TrainState:
  """The state before the first step, begun with what `start` makes of the model in it.

  Args:
    start: As in `fit`; it sees plain dictionaries.
    state: The state as the net begins.
    create: Makes the state of a model: an optimizer may begin at the parameters.

  Returns:
    The state.

  Raises:
    UserError: `start` returns other trees than it is given.
  """
  before = unpacked((state.params, state.state))
  after = start(*before)
  if not isinstance(after, tuple) or len(after) != 2:
    raise UserError(f"start returned a {type(after).__name__}, expected (params, state), as it is given.")
  found, expected = (kinds(by_path(dict(zip(("params", "state"), model, strict=True)))) for model in (after, before))
  for path in expected.keys() | found.keys():
    if found.get(path) != expected.get(path):
      told = [kind.get(path, "missing") for kind in (found, expected)]
      raise UserError(f"start returned {path!r} as {told[0]}, expected {told[1]}: keep names, shapes and dtypes.")
  return create(after)
