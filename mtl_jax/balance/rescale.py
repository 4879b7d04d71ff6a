"""A balancer's weights on another scale."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import check_choice
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.named import as_balancer

_SCALES = ("paper", "sum", "mean")


def rescale(balancer: Balancer | str, scale: Literal["paper", "sum", "mean"]) -> Balancer:
  r"""`balancer` with weights on the scale on which equal weighting is all ones (sum) or all 1 / T (mean).

  A method whose paper uses the other of the two is multiplied or divided by T. One with a scale of its own is
  normalised at each step, $w \, T / \sum_i |w_i|$ or $w / \sum_i |w_i|$. So methods compare at the same learning rate.

  Args:
    balancer: Any method, or its name.
    scale: `"paper"` leaves it as it is.

  Returns:
    The balancer.

  Raises:
    UserError: An unknown scale.

  >>> import mtl_jax as mtl
  >>> from mtl_jax.balance import Stats
  >>> balancer = rescale(mtl.balance.mgda(), "sum")
  >>> balancer.weigh(Stats(jnp.ones(2), jnp.eye(2)), balancer.init(2))[0].round(4).tolist()
  [1.0, 1.0]
  """
  balancer = as_balancer(balancer, "rescale: balancer")
  check_choice("rescale", "scale", scale, _SCALES)
  if scale in ("paper", balancer.scale):
    return balancer

  def factor(weights, tasks):
    own = {"sum": jnp.ones_like(tasks), "mean": tasks}.get(balancer.scale)
    if own is None:
      size = jnp.sum(jnp.abs(weights)).astype(tasks.dtype)
      own = jnp.where(size > 0, tasks / jnp.where(size > 0, size, 1.0), 1.0)
    return (own if scale == "sum" else own / tasks).astype(weights.dtype)

  def step(inner, stats, state):
    update, weights, state = inner(stats, state)
    share = factor(weights, stats.num_present)
    return jax.tree.map(lambda u: u * share.astype(u.dtype), update), weights * share, state

  return balancer.around(step, scale=scale, by_name=lambda names: rescale(balancer.for_tasks(names), scale))
