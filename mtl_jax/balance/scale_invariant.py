"""Scale-invariant weighting: minimising the sum of the logarithms of the losses."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax.balance.balancer import Balancer, loss_weighter, stateless


def scale_invariant() -> Balancer:
  r"""Scale-invariant learning: minimise $\sum_i \log l_i$, so that the units of a loss do not matter.

  $$ w_i = 1 / l_i $$

  Returns:
    The balancer. Losses must be positive.

  >>> from mtl_jax.balance import Stats
  >>> scale_invariant().weigh(Stats(jnp.array([1.0, 4.0])), ())[0].tolist()
  [1.0, 0.25]

  References:
    Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya, *Multi-Task Learning as a Bargaining Game*, ICML 2022
    (the baseline SI).
  """

  def weigh(stats, state):
    # Not a reciprocal: that of a negative loss is a number.
    return jnp.exp(-jnp.log(stats.losses)), state

  return loss_weighter(stateless, weigh, losses_above=0.0, scale="other")
