"""Penalty boundary intersection: along a preferred ray, with a penalty for the distance from it."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, loss_weighter
from mtl_jax.balance.toolkit.preference import Preference, preferences, stateless_with


def pbi(preference: Preference = None, theta: float = 5.0) -> Balancer:
  r"""Penalty boundary intersection: minimise $d_1 + \theta d_2$, where the losses lie along and beside the ray of r.

  $$ d_1 = l \cdot \hat r, \quad d_2 = |l - d_1 \hat r|, \qquad w = \hat r + \theta \, (l - d_1 \hat r) / d_2 $$

  with $\hat r = r / |r|$ and the ideal point at 0. Weights may be negative. On the ray itself $w = \hat r$.

  Args:
    preference: r, (T,), not negative, in the order of the tasks; None: 1 / T each.
    theta: $\theta$, at least 0.

  Returns:
    The balancer.

  Raises:
    UserError: An option is out of range; at initialisation, a preference of another length than the number of tasks.

  >>> from mtl_jax.balance import Stats
  >>> pbi(preference=[1.0, 0.0], theta=2.0).weigh(Stats(jnp.array([3.0, 4.0])), ())[0].tolist()
  [1.0, 2.0]

  References:
    Zhang, Li, *MOEA/D: A Multiobjective Evolutionary Algorithm Based on Decomposition*, IEEE TEC 2007.
  """
  if theta < 0:
    raise UserError(f"pbi: theta is {theta}, expected at least 0.")
  of = preferences("pbi", preference)

  def weigh(stats, state):
    r = of(stats.losses.shape[0], stats.present).astype(stats.losses.dtype)
    length = jnp.linalg.norm(r)  # 0 where no task of a positive preference is present
    unit = r / jnp.where(length > 0, length, 1.0)
    losses = jnp.where(stats.present, stats.losses, 0.0)
    largest = jnp.max(jnp.abs(losses))
    relative = losses / jnp.where(largest > 0, largest, 1.0)
    beside = relative - jnp.sum(relative * unit) * unit
    distance = jnp.sqrt(jnp.sum(beside * beside))
    # Within rounding of the ray the direction of the distance is noise.
    is_beside = distance > 4 * jnp.finfo(distance.dtype).eps
    return unit + theta * jnp.where(is_beside, beside / jnp.where(is_beside, distance, 1.0), 0.0), state

  return loss_weighter(stateless_with(of), weigh, scale="other")
