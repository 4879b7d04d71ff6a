"""The `losses` engine: no task gradients at all, one backward pass of the weighted losses."""

from __future__ import annotations

from mtl_jax.balance._balancer import Stats
from mtl_jax.engine._engine import Engine


def losses() -> Engine:
  r"""One forward and one backward pass: for methods that weigh tasks by their losses.

  $$ update = \nabla_{shared} \sum_t w_t(l)\, l_t $$ with the weights held constant.

  Returns:
    The engine.

  >>> sorted(losses().serves)
  ['losses']
  """

  def run(linearized, balancer, balancer_state, state):
    weights, balancer_state = balancer.weigh(Stats(linearized.losses), balancer_state)
    return linearized.pull(weights), weights, balancer_state, state

  return Engine("losses", frozenset({"losses"}), lambda num_tasks: (), run)
