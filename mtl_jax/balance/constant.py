"""Fixed or scheduled weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, loss_weighter


def constant(weights: Sequence[float] | jax.typing.ArrayLike | Callable) -> Balancer:
  """Given weights, or a schedule of them (sum scale: ones are equal weighting).

  Args:
    weights: One weight per task, (T,), in the order of the tasks, or a function `step -> (T,)` in JAX operations.

  Returns:
    The balancer; its state counts the steps.

  Raises:
    UserError: At initialisation, if the number of weights is not that of the tasks.

  >>> from mtl_jax.balance import Stats
  >>> balancer = constant([1.0, 0.5])
  >>> balancer.weigh(Stats(jnp.array([3.0, 4.0])), balancer.init(2))[0].tolist()
  [1.0, 0.5]
  """
  schedule = weights if callable(weights) else lambda step: jnp.asarray(weights, jnp.float32)

  def init(num_tasks):
    step = jnp.zeros((), jnp.int32)
    found = jnp.shape(schedule(step))
    if found != (num_tasks,):
      raise UserError(f"constant: the weights have shape {found}, expected ({num_tasks},), one per task.")
    return step

  def weigh(stats, step):
    return jnp.asarray(schedule(step), stats.losses.dtype), step + 1

  return loss_weighter(init, weigh)
