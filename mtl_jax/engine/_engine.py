"""`Engine`, how a balancer's statistics are obtained and its weights pulled back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from mtl_jax._errors import UserError
from mtl_jax.balance._balancer import Balancer
from mtl_jax.engine._linearize import Linearized

Grads = Any


class Engine(NamedTuple):
  """One way to the combined gradient of the shared parameters; any engine runs any balancer it serves.

  Attributes:
    name: For messages and tables.
    serves: The fields of `Stats` it can fill in.
    init: `init(num_tasks) -> state`, for engines that remember something between steps.
    run: `run(linearized, balancer, balancer_state, engine_state)
      -> (shared_grads, weights, balancer_state, engine_state)`.
  """

  name: str
  serves: frozenset[str]
  init: Callable[[int], Any]
  run: Callable[[Linearized, Balancer, Any, Any], tuple[Grads, jax.Array, Any, Any]]


def check_serves(engine: Engine, balancer: Balancer) -> None:
  """Raises a one-line `UserError` when the engine cannot fill in what the balancer needs."""
  missing = balancer.needs - engine.serves
  if missing:
    raise UserError(
      f"engine {engine.name!r} cannot serve this balancer: it needs {', '.join(sorted(missing))}, and the engine "
      f"gives {', '.join(sorted(engine.serves))}. Use mtl.engine.stacked(), which serves every balancer."
    )
