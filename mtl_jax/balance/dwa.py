"""Dynamic weight average: weights by the rate at which losses fall."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, loss_weighter


class DwaState(NamedTuple):
  """Steps seen, this window's sums of losses and numbers of them, (T,), the means of the last two windows, (T, 2)."""

  step: jax.Array
  total: jax.Array
  seen: jax.Array
  means: jax.Array


def dwa(temperature: float = 2.0, window: int = 100) -> Balancer:
  r"""Dynamic weight average: tasks whose loss falls slowly weigh more (sums to T).

  $$ w = T\, softmax(r / \tau), \qquad r_i = \bar l_i^{(k-1)} / \bar l_i^{(k-2)} $$

  with $\bar l^{(k)}$ the mean losses of window $k$, over the steps with labels of the task; ones during the first two
  windows. A window without any is left out of a task's windows, and with fewer than two $r_i = 1$.

  Args:
    temperature: $\tau$; the larger, the more even.
    window: Steps a window; an epoch in the paper.

  Returns:
    The balancer.

  Raises:
    UserError: An option is out of range.

  >>> from mtl_jax.balance import Stats
  >>> balancer, state = dwa(window=1), dwa(window=1).init(2)
  >>> for losses in ([4.0, 4.0], [2.0, 4.0], [2.0, 4.0]):
  ...   weights, state = balancer.weigh(Stats(jnp.array(losses)), state)
  >>> weights.round(4).tolist()  # the first task's loss halved, so it weighs less
  [0.8756, 1.1244]

  References:
    Liu, Johns, Davison, *End-to-End Multi-Task Learning with Attention*, CVPR 2019.
  """
  if temperature <= 0 or window < 1:
    raise UserError(f"dwa: temperature is {temperature} and window {window}, expected above 0 and at least 1.")

  def init(num_tasks):
    total, seen = jnp.zeros((2, num_tasks), jnp.float32)
    return DwaState(jnp.zeros((), jnp.int32), total, seen, jnp.zeros((num_tasks, 2), jnp.float32))

  def weigh(stats, state):
    older, newer = state.means.T
    rate = jnp.where(older > 0, newer / jnp.where(older > 0, older, 1.0), 1.0)
    logits = jnp.minimum(rate / temperature, float(jnp.finfo(rate.dtype).max))  # softmax of two infinities is NaN
    weights = stats.num_present * jax.nn.softmax(logits, where=stats.present)
    weights = jnp.where(state.step >= 2 * window, weights, jnp.ones_like(weights))
    total = state.total + jnp.where(stats.present, stats.losses, 0.0)
    count = state.seen + stats.present.astype(jnp.float32)
    is_last = (state.step + 1) % window == 0
    means = jnp.stack([newer, total / jnp.maximum(count, 1.0)], axis=1)
    means = jnp.where((is_last & (count > 0))[:, None], means, state.means)
    total, count = (jnp.where(is_last, 0.0, x) for x in (total, count))
    return weights, DwaState(state.step + 1, total, count, means)

  return loss_weighter(init, weigh)
