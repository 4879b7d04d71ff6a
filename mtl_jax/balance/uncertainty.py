"""Uncertainty weighting: learned homoscedastic noise of each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, loss_weighter
from mtl_jax.balance.toolkit.learned import Learned, check_learning_rate, descend, start


class UncertaintyState(NamedTuple):
  """The learned log-variances s, (T,), and the last value of the weighted objective."""

  log_variance: Learned
  objective: jax.Array


def uncertainty(
  learning_rate: float = 1e-3,
  classification: Sequence[bool] | None = None,
  optimizer: optax.GradientTransformation | None = None,
) -> Balancer:
  r"""Uncertainty weighting: minimise over the network and over the log-variances $s = \log \sigma^2$ of the tasks.

  $$ \sum_{regression} \tfrac12 e^{-s_i} l_i + \tfrac12 s_i + \sum_{classification} e^{-s_i} l_i + \tfrac12 s_i $$

  so $w_i = e^{-s_i} / 2$ or $e^{-s_i}$ (paper's scale). s starts at 0 and is trained by an optimizer of its own,
  without weight decay, kept in the balancer's state. The objective, reported beside the plain losses, may be
  negative.

  Args:
    learning_rate: Of Adam on s.
    classification: Which tasks have the classification form, (T,); None: all have the regression form, as in the
      usual implementations.
    optimizer: Any optimizer of s in place of Adam, for each entry by itself.

  Returns:
    The balancer.

  Raises:
    UserError: The learning rate is not positive, or, at initialisation, `classification` has a wrong length.

  >>> from mtl_jax.balance import Stats
  >>> balancer = uncertainty()
  >>> balancer.weigh(Stats(jnp.array([1.0, 1.0])), balancer.init(2))[0].tolist()
  [0.5, 0.5]

  References:
    Kendall, Gal, Cipolla, *Multi-Task Learning Using Uncertainty to Weigh Losses*, CVPR 2018.
  """
  check_learning_rate("uncertainty", learning_rate)
  tx = optax.adam(learning_rate) if optimizer is None else optimizer

  def factor(num_tasks):
    kinds = (False,) * num_tasks if classification is None else tuple(classification)
    if len(kinds) != num_tasks:
      raise UserError(f"uncertainty: classification has {len(kinds)} entries, expected {num_tasks}, one per task.")
    return jnp.where(jnp.array(kinds), 1.0, 0.5)

  def init(num_tasks):
    factor(num_tasks)
    return UncertaintyState(start(tx, num_tasks), jnp.zeros((), jnp.float32))

  def weigh(stats, state):
    def objective(s):
      terms = factor(s.shape[0]) * jnp.exp(-s) * stats.losses + 0.5 * s
      return jnp.sum(jnp.where(stats.present, terms, 0.0))

    s = state.log_variance.value
    value, gradient = jax.value_and_grad(objective)(s)
    learned = descend(tx, gradient, state.log_variance, stats.present)
    return factor(s.shape[0]) * jnp.exp(-s), UncertaintyState(learned, value)

  def report(state):
    return {"log_variance": state.log_variance.value, "objective": state.objective}

  return loss_weighter(init, weigh, report=report, scale="other")
