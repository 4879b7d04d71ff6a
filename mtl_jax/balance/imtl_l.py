"""IMTL-L: learned scales that bring all losses to 1."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from mtl_jax.balance.balancer import Balancer, loss_weighter
from mtl_jax.balance.toolkit.learned import check_learning_rate, descend, start


def imtl_l(learning_rate: float = 1e-3, optimizer: optax.GradientTransformation | None = None) -> Balancer:
  r"""Impartial loss weighting: minimise over the network and over the log-scales s of the losses.

  $$ \sum_i e^{s_i} l_i - s_i, \qquad w_i = e^{s_i} $$

  At the optimum $e^{s_i} l_i = 1$ for all tasks. s starts at 0 and is trained by an optimizer of its own, without
  weight decay, kept in the balancer's state.

  Args:
    learning_rate: Of Adam on s.
    optimizer: Any optimizer of s in place of Adam, for each entry by itself.

  Returns:
    The balancer; it reports `log_scale`, s.

  Raises:
    UserError: The learning rate is not positive.

  >>> from mtl_jax.balance import Stats
  >>> balancer = imtl_l()
  >>> balancer.weigh(Stats(jnp.array([1.0, 4.0])), balancer.init(2))[0].tolist()
  [1.0, 1.0]

  References:
    Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang, *Towards Impartial Multi-task Learning*, ICLR 2021, with a = e.
  """
  check_learning_rate("imtl_l", learning_rate)
  tx = optax.adam(learning_rate) if optimizer is None else optimizer

  def weigh(stats, state):
    weights = jnp.exp(state.value)
    return weights, descend(tx, weights * stats.losses - 1.0, state, stats.present)

  def report(state):
    return {"log_scale": state.value}

  return loss_weighter(lambda num_tasks: start(tx, num_tasks), weigh, report=report)
