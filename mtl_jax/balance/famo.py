"""FAMO: weights that make all losses fall at the same rate, from losses alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, loss_weighter
from mtl_jax.balance.toolkit.learned import Learned, check_learning_rate, descend, start
from mtl_jax.balance.toolkit.present import keep_absent


class FamoState(NamedTuple):
  """The logits s, (T,), and the last losses' logarithms, (T,), NaN before the first."""

  logits: Learned
  last: jax.Array


def famo(
  learning_rate: float = 0.025,
  weight_decay: float = 1e-3,
  min_losses: float | Sequence[float] = 0.0,
  lazy: bool = False,
) -> Balancer:
  r"""Fast adaptive multitask optimization: raise the weight of tasks whose loss falls slowly (paper's scale).

  $$ z = softmax(s), \quad w_i = \frac{z_i}{D_i} \Big/ \sum_j \frac{z_j}{D_j}, \quad D_i = l_i - l_i^{min} + 10^{-8} $$

  so the weights sum to 1. After the update of the network, s takes a step of Adam on

  $$ (\partial z / \partial s)^T (\log D^{before} - \log D^{after}) $$

  both on the same batch: a second forward pass, with the same dropout and without another update of batch statistics.

  Args:
    learning_rate: Of Adam on s.
    weight_decay: Of s, added to its gradient.
    min_losses: $l^{min}$, a lower bound of the losses, one or (T,).
    lazy: Compare with the losses of the next step, on another batch, in place of the second forward pass.

  Returns:
    The balancer; it reports `share`, z. Losses must be above `min_losses`.

  Raises:
    UserError: An option is out of range; at initialisation, `min_losses` of a wrong length.

  >>> from mtl_jax.balance import Stats
  >>> balancer = famo()
  >>> balancer.weigh(Stats(jnp.array([1.0, 4.0])), balancer.init(2))[0].round(3).tolist()
  [0.8, 0.2]

  References:
    Liu, Feng, Stone, Liu, *FAMO: Fast Adaptive Multitask Optimization*, NeurIPS 2023.
  """
  check_learning_rate("famo", learning_rate)
  if weight_decay < 0:
    raise UserError(f"famo: weight_decay is {weight_decay}, expected at least 0.")
  lowest = np.asarray(min_losses, np.float32)
  tx = optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate))

  def log_distance(losses):
    # NaN at and below the bound: the 1e-8 is for rounding, not for losses out of range.
    distance = losses - jnp.asarray(lowest, losses.dtype)
    return jnp.log(jnp.where(distance > 0, distance + 1e-8, jnp.nan))

  def init(num_tasks):
    if lowest.shape not in ((), (num_tasks,)):
      raise UserError(f"famo: min_losses has shape {lowest.shape}, expected ({num_tasks},), one per task.")
    return FamoState(start(tx, num_tasks), jnp.full(num_tasks, jnp.nan, jnp.float32))

  def learn(before, after, logits, present):
    _, vjp = jax.vjp(lambda s: jax.nn.softmax(s, where=present), logits.value)
    return descend(tx, vjp(jnp.where(present, before - after, 0.0))[0], logits, present)

  def weigh(stats, state):
    logs, logits = log_distance(stats.losses), state.logits
    if lazy:
      logits = learn(state.last, logs, logits, stats.present & ~jnp.isnan(state.last))
    # z / D, relative to the largest
    shares = jnp.where(stats.present, logits.value - logs, 0.0)
    weights = jax.nn.softmax(shares, where=stats.present)
    return weights, FamoState(logits, keep_absent(stats.present, logs, state.last))

  def observe(before, after, state):
    logs = log_distance(before.losses), log_distance(after.losses)
    return state._replace(logits=learn(*logs, state.logits, before.filled().present))

  def report(state):
    return {"share": jax.nn.softmax(state.logits.value)}

  balancer = loss_weighter(init, weigh, report=report, losses_above=lowest, scale="mean")
  return balancer if lazy else balancer._replace(needs=balancer.needs | {"losses_after"}, observe=observe)
