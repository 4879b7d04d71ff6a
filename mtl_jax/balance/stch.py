"""Smooth Tchebycheff scalarisation: minimising a smooth maximum of the relative losses."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, loss_weighter


class StchState(NamedTuple):
  """Steps taken, and of each task's losses over the last window of the warm-up the sum and the number, (T,)."""

  step: jax.Array
  total: jax.Array
  seen: jax.Array


def stch(mu: float = 1.0, warmup: int = 1000, window: int = 100) -> Balancer:
  r"""Smooth Tchebycheff: after a warm-up, minimise a smooth maximum of the losses relative to where the warm-up ended.

  $$ T \mu \log \sum_i \exp\big(\log(l_i / n_i) / \mu\big), \qquad w_i = T \, softmax(\log(l / n) / \mu)_i \,/\, l_i $$

  The nadir $n_i$ is the task's mean loss in the last `window` steps of the warm-up, during which $\sum_i \log l_i$
  is minimised ($w_i = 1 / l_i$). Where a task has no labels in those steps, its nadir is its next loss.

  Args:
    mu: $\mu$, positive: the smaller, the more only the worst task counts.
    warmup: Steps of the warm-up, at least 1.
    window: Steps that the nadir is averaged over, from 1 to `warmup`; an epoch in the official code.

  Returns:
    The balancer. Losses must be positive.

  Raises:
    UserError: An option is out of range.

  >>> from mtl_jax.balance import Stats
  >>> balancer = stch(warmup=1, window=1)
  >>> _, state = balancer.weigh(Stats(jnp.array([1.0, 2.0])), balancer.init(2))  # the nadir
  >>> balancer.weigh(Stats(jnp.array([0.5, 3.0])), state)[0].round(3).tolist()
  [1.0, 0.5]

  References:
    Lin, Zhang, Yang, Liu, Wang, Zhang, *Smooth Tchebycheff Scalarization for Multi-Objective Optimization*, ICML 2024.
    Deviation: steps in place of epochs.
  """
  if mu <= 0 or warmup < 1 or not 1 <= window <= warmup:
    raise UserError(
      f"stch: mu is {mu}, warmup {warmup} and window {window}, expected mu above 0, warmup at least 1 and window from "
      "1 to warmup."
    )

  def init(num_tasks):
    total, seen = jnp.zeros((2, num_tasks), jnp.float32)
    return StchState(jnp.zeros((), jnp.int32), total, seen)

  def weigh(stats, state):
    logs = jnp.log(stats.losses)
    is_warmup = state.step < warmup
    counts = jnp.where(is_warmup, state.step >= warmup - window, state.seen == 0) & stats.present
    total = state.total + jnp.where(counts, stats.losses, 0.0)
    count = state.seen + counts.astype(jnp.float32)
    nadir = jnp.log(jnp.where(is_warmup | (count == 0), 1.0, total / jnp.maximum(count, 1.0)))
    share = jax.nn.softmax((logs - nadir) / mu, where=stats.present) * stats.num_present
    return jnp.where(is_warmup, 1.0, share) * jnp.exp(-logs), StchState(state.step + 1, total, count)

  return loss_weighter(init, weigh, losses_above=0.0, scale="other")
