"""Equal weighting: the sum of the losses."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax.balance.balancer import Balancer, loss_weighter, stateless


def equal() -> Balancer:
  """Equal weighting, the plain sum of the losses: $w = 1$ (sum scale).

  Returns:
    The balancer.

  >>> from mtl_jax.balance import Stats
  >>> equal().weigh(Stats(jnp.array([1.0, 5.0])), ())[0].tolist()
  [1.0, 1.0]
  """
  return loss_weighter(stateless, lambda stats, state: (jnp.ones_like(stats.losses), state))
