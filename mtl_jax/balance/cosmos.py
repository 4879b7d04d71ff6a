"""COSMOS: a weighted sum of the losses that also asks for losses in proportion to a preference."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, loss_weighter
from mtl_jax.balance.toolkit.preference import Preference, preferences, stateless_with


def cosmos(preference: Preference = None, lam: float = 2.0) -> Balancer:
  r"""The scalarisation of COSMOS: minimise $r^T l - \lambda \cos(r, l)$.

  $$ w = r - \lambda \Big( \frac{r}{|r| |l|} - \cos(r, l) \frac{l}{|l|^2} \Big) $$

  The cosine spreads solutions over the Pareto front: losses end near the ray of r. Weights may be negative.

  Args:
    preference: r, (T,), not negative, in the order of the tasks; None: 1 / T each.
    lam: $\lambda$, at least 0.

  Returns:
    The balancer.

  Raises:
    UserError: An option is out of range; at initialisation, a preference of another length than the number of tasks.

  >>> from mtl_jax.balance import Stats
  >>> cosmos(preference=[0.5, 0.5]).weigh(Stats(jnp.array([1.0, 1.0])), ())[0].round(3).tolist()
  [0.5, 0.5]

  References:
    Ruchte, Grabocka, *Scalable Pareto Front Approximation for Deep Multi-Objective Learning*, ICDM 2021. Deviation:
    one preference for the whole training; the paper draws one per batch and gives it to the network as an input.
  """
  if lam < 0:
    raise UserError(f"cosmos: lam is {lam}, expected at least 0.")
  of = preferences("cosmos", preference)

  def weigh(stats, state):
    r = of(stats.losses.shape[0], stats.present).astype(stats.losses.dtype)
    length = jnp.linalg.norm(r)  # 0 where no task of a positive preference is present
    unit = r / jnp.where(length > 0, length, 1.0)
    losses = jnp.where(stats.present, stats.losses, 0.0)
    # Relative to the largest loss: squares of 1e20 overflow.
    largest = jnp.max(jnp.abs(losses))
    largest = jnp.where(largest > 0, largest, 1.0)

    relative = losses / largest
    size = jnp.sqrt(jnp.sum(relative * relative))
    along = relative / jnp.where(size > 0, size, 1.0)
    slope = (unit - jnp.sum(unit * along) * along) / jnp.where(size > 0, size, 1.0)
    return r - lam * jnp.where(size > 0, slope, 0.0) / largest, state

  return loss_weighter(stateless_with(of), weigh, scale="other")
