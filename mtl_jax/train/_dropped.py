"""Tasks whose loss is not finite, left out of a step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mtl_jax.balance.balancer import Balancer
from mtl_jax.engine.linearized import Linearized
from mtl_jax.train._finish import mishaps


def dropped(linear: Linearized, method: Balancer) -> tuple[Linearized, jax.Array]:
  """The objective without the tasks whose losses are mishaps, which are then absent like tasks without labels.

  Args:
    linear: The objective after its forward pass, guarded (`Objective.guarded`): such losses have gradients of zero.
    method: The balancer.

  Returns:
    The objective, and which tasks it lost, (T,) bool.
  """
  lost = linear.here & mishaps(linear.losses, method)
  here = linear.present
  if here is None:
    here = jnp.ones((len(linear.shares), len(linear.names)), bool)
  losses = jnp.where(lost, jnp.zeros_like(linear.losses), linear.losses)
  return linear._replace(losses=losses, present=here & ~lost[None]), lost
