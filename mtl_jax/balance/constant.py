"""Fixed or scheduled weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError, nearest
from mtl_jax.balance.balancer import Balancer, loss_weighter, without_shared


def constant(weights: Sequence[float] | jax.typing.ArrayLike | Mapping[str, float] | Callable) -> Balancer:
  """Given weights, or a schedule of them (sum scale: ones are equal weighting).

  Args:
    weights: One weight per task, (T,), in the order of the tasks; `{task: weight}`, where the tasks' names are known
      (everywhere but in `mtl.aggregate`); or a function `step -> (T,)` in JAX operations.

  Returns:
    The balancer; its state counts the steps.

  Raises:
    UserError: At initialisation, if the weights are not those of the tasks.

  >>> from mtl_jax.balance import Stats
  >>> balancer = constant([1.0, 0.5])
  >>> balancer.weigh(Stats(jnp.array([3.0, 4.0])), balancer.init(2))[0].tolist()
  [1.0, 0.5]
  """
  if isinstance(weights, Mapping):
    return _of_names(dict(weights))
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


def _of_names(weights: Mapping[str, float]) -> Balancer:
  """The balancer of weights by name, which needs the names to become one of a list."""

  def init(num_tasks):
    raise UserError(
      f"constant: weights are given by name, and the {num_tasks} tasks have no names here: pass a list, "
      f"constant({list(weights.values())}), in the order of the tasks."
    )

  def by_name(names):
    for name in weights:
      if name not in names:
        known = ", ".join(map(repr, names))
        raise UserError(f"constant: there is no task {name!r}{nearest(name, names)}: the balanced tasks are {known}.")
    for name in names:
      if name not in weights:
        raise UserError(f"constant: task {name!r} has no weight, expected one for each: 1.0 is equal weighting.")
    return constant([weights[name] for name in names])

  return constant(list(weights.values()))._replace(init=without_shared(init), by_name=by_name)
