"""Any gradient balancer on the logarithms of the losses."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.named import as_balancer


def log_losses(balancer: Balancer | str) -> Balancer:
  r"""`balancer` on $\log l_i$ in place of $l_i$: rows $g_i / l_i$, whatever the units of the losses.

  $$ update = \sum_i w_i \, g_i / l_i, \qquad w = w\big(\log l,\; diag(1/l)\, G\, diag(1/l)\big) $$

  Args:
    balancer: Any method, or its name.

  Returns:
    The balancer; its weights are those of the plain gradients, $w_i / l_i$. Losses must be positive.

  >>> import mtl_jax as mtl
  >>> from mtl_jax.balance import Stats
  >>> balancer = log_losses(mtl.balance.equal())
  >>> balancer.weigh(Stats(jnp.array([1.0, 4.0])), balancer.init(2))[0].tolist()
  [1.0, 0.25]

  References:
    Lin, Jiang, Ye, Zhang, Chen, Chen, Liu, Kwok, *Dual-Balancing for Multi-Task Learning*, 2023.
  """
  balancer = as_balancer(balancer, "log_losses: balancer")

  def logarithmic(stats):
    stats = stats.filled()
    factors = jnp.exp(-jnp.log(stats.losses))  # NaN outside of the domain
    return stats.scaled(factors)._replace(losses=jnp.log(stats.losses)), factors

  def step(inner, stats, state):
    logs, factors = logarithmic(stats)
    update, weights, state = inner(logs, state)
    return update, weights * factors, state

  def observe(before, after, state):
    return balancer.observe(logarithmic(before)[0], logarithmic(after)[0], state)

  return balancer.around(
    step,
    needs=balancer.needs | {"losses"},
    observe=observe,
    losses_above=np.exp(balancer.losses_above),
    scale="other",
    by_name=lambda names: log_losses(balancer.for_tasks(names)),
  )
