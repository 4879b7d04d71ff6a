"""`Engine`, how a balancer's statistics are obtained and its weights pulled back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.serving import statistics
from mtl_jax.engine.linearized import Linearized

Grads = Any


class Engine(NamedTuple):
  """One way to the combined gradient of the shared parameters; any engine runs any balancer it serves.

  Attributes:
    name: For messages and tables.
    serves: The fields of `Stats` it can fill in.
    init: `init(num_tasks) -> state`, for engines that remember something between steps.
    run: `run(linearized, balancer, balancer_state, engine_state)
      -> (shared_grads, weights, balancer_state, engine_state)`.
    per_device: It must see each device's own share of the task gradients: under a mesh the step runs as a program for
      each device of the axis `data`. Batch statistics are still those of the whole batch; dropout draws differently.
  """

  name: str
  serves: frozenset[str]
  init: Callable[[int], Any]
  run: Callable[[Linearized, Balancer, Any, Any], tuple[Grads, jax.Array, Any, Any]]
  per_device: bool = False


Gram = Callable[[Linearized, Balancer], tuple[jax.Array | None, Linearized]]


def weighing(name: str, serves: frozenset[str], gram: Gram) -> Engine:
  """An engine that keeps no task gradients: weights from losses and a Gram matrix, then one weighted backward pass.

  Args:
    name: As in `Engine`.
    serves: As in `Engine`.
    gram: `gram(linearized, balancer) -> (matrix, linearized)`, the Gram matrix over the tasks of all parts of the batch
      or None, and the objective, with shorter pullbacks if making the matrix has left any.

  Returns:
    The engine; it remembers nothing between steps.
  """

  def run(linearized, balancer, balancer_state, state):
    matrix, linearized = gram(linearized, balancer)
    return *weigh_and_pull(linearized, balancer, balancer_state, matrix), state

  return Engine(name, serves, lambda num_tasks: (), run)


def weigh_and_pull(
  linearized: Linearized, balancer: Balancer, balancer_state: Any, matrix: jax.Array | None
) -> tuple[Grads, jax.Array, Any]:
  """The combined gradient by one weighted backward pass, the weights from G, and the balancer's state."""
  stats = statistics(balancer, linearized.losses, matrix, linearized.present)
  weights, balancer_state = balancer.weigh(stats, balancer_state)
  return linearized.pull(weights), weights, balancer_state


def missing(engine: Engine, balancer: Balancer) -> frozenset[str]:
  """What the balancer needs and the engine cannot fill in. The losses after the update are the step's own matter.

  Args:
    engine: The engine.
    balancer: The balancer.

  Returns:
    Fields of `mtl.balance.Stats`; none where the engine serves the balancer.
  """
  return balancer.needs - engine.serves - {"losses_after"}


def check_serves(engine: Engine, balancer: Balancer) -> None:
  """Refuses a balancer that the engine cannot serve.

  Args:
    engine: The engine.
    balancer: The balancer.

  Raises:
    UserError: The engine cannot fill in what the balancer needs; or the balancer observes the losses after the update
      without saying so in what it needs.
  """
  if balancer.observe is not Balancer._field_defaults["observe"] and "losses_after" not in balancer.needs:
    raise UserError("this balancer observes the losses after the update: add 'losses_after' to what it needs.")
  lacks = missing(engine, balancer)
  if lacks:
    raise UserError(
      f"engine {engine.name!r} cannot serve this balancer: it needs {', '.join(sorted(lacks))}, and the engine "
      f"gives {', '.join(sorted(engine.serves))}. Use mtl.engine.stacked(), which serves every balancer."
    )
