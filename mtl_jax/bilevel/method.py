"""`Bilevel`, a method that learns on validation data how to weigh the training losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError


class Levels(NamedTuple):
  """The two levels of the problem at one step, as pure functions of the parameters.

  Attributes:
    params: The parameters now, shared and the heads'.
    train: `train(params) -> (T,)`, the losses on the training batch: the lower level.
    valid: `valid(params) -> (T,)`, the losses on the validation batch: the upper level.
    present: Which tasks have labels in the training batch, (T,) bool. The losses of the others are 0.
    valid_present: Which have in the validation batch.
  """

  params: Any
  train: Callable[[Any], jax.Array]
  valid: Callable[[Any], jax.Array]
  present: jax.Array
  valid_present: jax.Array


class Bilevel(NamedTuple):
  r"""A bilevel method as pure functions.

  Attributes:
    init: `init(num_tasks, shared=None) -> state`, a pytree; `shared` is not looked at.
    learn: `learn(levels, state) -> (train_weights, valid_weights, state)`: the step's gradient, of all parameters, is
      that of $w_{train} \cdot l_{train} + w_{valid} \cdot l_{valid}$; weights (T,), `valid_weights` None for none.
    report: `report(state) -> {name: array}`, what the step's metrics show.
    needs: As in `Balancer`, so that `init_train_state` takes either.
    losses_above: As in `Balancer`.
  """

  init: Callable[..., Any]
  learn: Callable[[Levels, Any], tuple[jax.Array, jax.Array | None, Any]]
  report: Callable[[Any], dict[str, jax.Array]] = lambda state: {}
  needs: frozenset[str] = frozenset({"losses"})
  losses_above: float = float("-inf")


def descent(levels: Levels, weights: jax.Array, learning_rate: float, params: Any = None) -> Any:
  """The parameters after a step of gradient descent on the weighted training losses, from `params` or those now."""
  params = levels.params if params is None else params
  gradient = jax.grad(lambda p: jnp.sum(weights * levels.train(p)))(params)
  return jax.tree.map(lambda p, g: p - learning_rate * g, params, gradient)


def check_rates(method: str, **rates: float) -> None:
  """Raises a `UserError` where a learning rate is not positive."""
  for name, rate in rates.items():
    if rate <= 0:
      raise UserError(f"{method}: {name} is {rate}, expected above 0.")
