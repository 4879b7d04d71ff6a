"""IMTL-G: the update with equal projections on the directions of all task gradients."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer, gram_balancer, stateless
from mtl_jax.balance.solvers.solution import directions


def imtl_g() -> Balancer:
  r"""Impartial learning: $g_i \cdot u / |g_i|$ is the same for all tasks (weights sum to 1).

  $$ C v = 1, \qquad w_i \propto v_i / |g_i|, \qquad C_{ij} = \cos(g_i, g_j) $$

  which is $w \propto G^{-1} \sqrt{diag(G)}$, in units in which a short gradient is not lost beside a long one.

  Weights may be negative, and are large where the gradients' directions are nearly opposed: there $\sum v$ is
  nearly 0. Where it is 0 up to rounding the weights are 0.

  Returns:
    The balancer.

  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  >>> weights, _ = imtl_g().weigh(Stats(jnp.ones(2), gradients @ gradients.T), ())
  >>> (weights @ gradients).round(4).tolist()
  [0.0767, 1.0, 1.0]

  References:
    Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang, *Towards Impartial Multi-task Learning*, ICLR 2021. Deviation: the
    pseudo-inverse of the cosines in place of the inverse of G, for linearly dependent gradients; eigenvalues below T
    roundings of the largest count as 0. A task without gradient has weight 0.
  """

  def weigh(stats, state):
    cosines, lengths = directions(stats.gram)
    has_gradient = lengths != 0
    shortest = jnp.min(jnp.where(has_gradient, lengths, jnp.inf))
    v = solvers.pinv_apply(cosines, has_gradient.astype(cosines.dtype), stats.num_present)
    v = jnp.where(has_gradient, v * (shortest / jnp.where(has_gradient, lengths, 1.0)), 0.0)
    total = jnp.sum(v)
    vanishes = jnp.abs(total) <= 8 * jnp.finfo(v.dtype).eps * jnp.sum(jnp.abs(v))
    return jnp.where(vanishes, 0.0, v / jnp.where(vanishes, 1.0, total)), state

  return gram_balancer(stateless, weigh, scale="mean")
