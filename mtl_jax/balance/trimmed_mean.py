"""Trimmed mean: of each coordinate the mean without its largest and smallest gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, row_method
from mtl_jax.balance.toolkit.rows import check_real


def trimmed_mean(k: int) -> Balancer:
  r"""Coordinate-wise trimmed mean: up to k arbitrary gradients cannot move it far (mean scale).

  $$ update_p = \frac{1}{T - 2k} \sum_{i = k + 1}^{T - k} g_{(i) p}, \qquad g_{(1) p} \le \dots \le g_{(T) p} $$

  In a step where fewer than 2 k + 1 tasks have labels, it is the median of those.

  Args:
    k: How many of the largest and of the smallest entries of each coordinate are dropped, at least 0; 0 is the mean.

  Returns:
    The balancer. Its update is no weighted sum of gradients; the weights reported are 1 / T.

  Raises:
    UserError: `k` is negative; at initialisation, fewer than 2 k + 1 tasks.

  >>> from mtl_jax.balance import Stats
  >>> rows = [jnp.array([[1.0, 9.0], [2.0, 5.0], [100.0, -7.0]])]
  >>> trimmed_mean(k=1).combine(Stats(jnp.ones(3), rows=rows), ())[0][0].tolist()
  [2.0, 5.0]

  References:
    Yin, Chen, Ramchandran, Bartlett, *Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates*,
    ICML 2018; there each row is the gradient of a worker.
  """
  if k < 0:
    raise UserError(f"trimmed_mean: k is {k}, expected at least 0.")

  def check(num_tasks, shared=None):
    del shared
    if num_tasks < 2 * k + 1:
      raise UserError(f"trimmed_mean: {num_tasks} tasks, expected at least {2 * k + 1} with k={k}.")
    return ()

  def combine(stats, state):
    check_real("trimmed_mean", stats.rows, "has no order")
    check(stats.losses.shape[0])
    count = jnp.sum(stats.present)
    cut = jnp.clip(k, 0, (jnp.maximum(count, 1) - 1) // 2)
    places = jnp.arange(stats.losses.shape[0])
    kept = (places >= cut) & (places < count - cut)

    def one(r):
      rising = jnp.sort(jnp.where(behind(stats.present, r.ndim), r, jnp.inf), axis=0)
      among = jnp.sum(jnp.where(behind(kept, r.ndim), rising, 0.0), axis=0)
      return among / jnp.maximum(count - 2 * cut, 1).astype(r.dtype)

    return jax.tree.map(one, stats.rows), jnp.full_like(stats.losses, 1.0) / stats.num_present, state

  return row_method(check, combine, scale="mean")
