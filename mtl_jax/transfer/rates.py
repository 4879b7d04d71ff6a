"""Learning rates of groups of parameters, and when they begin to be trained."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.packed import unpacked
from mtl_jax._core.paths import by_path, check_patterns, map_with_paths

Rate = float | Callable[[Any], Any]


def rates(factors: Mapping[str, Rate]) -> optax.GradientTransformation:
  r"""Multiplies the updates of groups of parameters; it stands behind an optimizer in a chain.

  $$ \Delta\theta_g \leftarrow c_g(n) \, \Delta\theta_g $$

  Args:
    factors: `{pattern: factor}`. The first regular expression that is found in the path of a parameter, such as
      `shared/stem/`, as in `frozen=`, says by what its updates are multiplied: a number, or a function of the number of
      steps before this one, as schedules of optax are. Others stay as they are.

  Returns:
    The transformation. It leaves moments of the optimizer before it alone: these also follow what factor 0 holds back.

  Raises:
    UserError: From `init`: a pattern is no regular expression, or matches no parameter.

  >>> tx = optax.chain(optax.sgd(1.0), rates({"shared/": 0.1}))
  >>> params = {"shared": {"w": jnp.ones(2)}, "task": {"a": {"w": jnp.ones(2)}}}
  >>> updates, _ = tx.update(params, tx.init(params))
  >>> updates["shared"]["w"].tolist(), updates["task"]["a"]["w"].tolist()
  ([-0.1, -0.1], [-1.0, -1.0])

  References:
    Howard and Ruder, *Universal Language Model Fine-tuning for Text Classification*, 2018, for discriminative rates.
  """

  def init(params: Any) -> optax.ScaleByScheduleState:
    check_patterns("rates", factors, list(by_path(jax.eval_shape(unpacked, params))))
    return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

  def update(updates: Any, state: Any, params: Any = None) -> Any:
    values = {pattern: rate(state.count) if callable(rate) else rate for pattern, rate in factors.items()}

    def scaled(paths: Sequence[str], leaf: Any, axis: int | None) -> Any:
      """A leaf, which holds what is at several paths along an axis, times the factor of each."""
      own = [next((values[p] for p in factors if re.search(p, path)), 1.0) for path in paths]
      if all(value is own[0] for value in own):
        return leaf * jnp.asarray(own[0], leaf.dtype)
      shape = [len(own) if i == axis else 1 for i in range(leaf.ndim)]
      return leaf * jnp.stack([jnp.asarray(value, leaf.dtype) for value in own]).reshape(shape)

    updates = map_with_paths(scaled, updates)
    return updates, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

  return optax.GradientTransformation(init, update)


def unfreeze(step: int) -> Callable[[Any], Any]:
  """The schedule that is 0 before a step and 1 from it on, for gradual unfreezing by `rates`.

  Args:
    step: The number of steps that are held back.

  Returns:
    The schedule.

  >>> float(unfreeze(10)(9)), float(unfreeze(10)(10))
  (0.0, 1.0)

  References:
    Howard and Ruder, *Universal Language Model Fine-tuning for Text Classification*, 2018.
  """
  return lambda count: jnp.where(count >= step, 1.0, 0.0)
