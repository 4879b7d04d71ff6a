"""Geometric loss strategy: minimising the geometric mean of the losses."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax.balance.balancer import Balancer, loss_weighter, stateless
from mtl_jax.balance.toolkit.present import mean


def geometric() -> Balancer:
  r"""Geometric loss strategy: minimise $L = (\prod_i l_i)^{1/T}$, which does not depend on the losses' units.

  $$ w_i = \frac{\partial L}{\partial l_i} = \frac{L}{T \, l_i} $$

  Returns:
    The balancer. Losses must be positive.

  >>> from mtl_jax.balance import Stats
  >>> geometric().weigh(Stats(jnp.array([1.0, 4.0])), ())[0].tolist()
  [1.0, 0.25]

  References:
    Chennupati, Sistu, Yogamani, Rawashdeh, *MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy
    for Multi-Task Learning*, CVPR Workshops 2019.
  """

  def weigh(stats, state):
    logs = jnp.log(stats.losses)
    return jnp.exp(mean(logs, stats.present) - logs) / stats.num_present, state

  return loss_weighter(stateless, weigh, losses_above=0.0, scale="other")
