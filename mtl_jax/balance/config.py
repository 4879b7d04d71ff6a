"""ConFIG: the direction at equal angles to all task gradients, as long as they project on it."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer, gram_balancer
from mtl_jax.balance.solvers.solution import full_precision, norms, scaled
from mtl_jax.balance.toolkit.preference import Preference, preferences, stateless_with


def config(preference: Preference = None) -> Balancer:
  r"""Conflict-free inverse gradients: equal cosines to all task gradients (paper's scale: a sum of projections).

  $$ update = \Big(\sum_i g_i \cdot x\Big)\, x, \qquad x = \hat U^+ p \,/\, |\hat U^+ p| $$

  with $\hat U$ the gradients' directions in rows. As a Gram method: $y = C^+ p$ with C the matrix of cosines,
  $w_i = y_i / |g_i| \cdot \sum_j |g_j| (C y)_j / y^T C y$.

  Args:
    preference: p, (T,), not negative, in the order of the tasks: the cosines are proportional to it. None: equal.

  Returns:
    The balancer.

  Raises:
    UserError: A negative preference; at initialisation, one of another length than the number of tasks.

  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  >>> weights, _ = config().weigh(Stats(jnp.ones(2), gradients @ gradients.T), ())
  >>> (weights @ gradients).round(4).tolist()
  [0.1588, 2.0706, 2.0706]

  References:
    Liu, Chu, Thuerey, *ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks*, ICLR 2025.
    Deviation: the pseudo-inverse is of the cosines, whose eigenvalues below T roundings of the largest count as 0.
  """
  of = preferences("config", preference)

  @full_precision
  def weigh(stats, state):
    lengths = norms(stats.gram)
    some = jnp.where(lengths > 0, lengths, 1.0)
    cosines = scaled(stats.gram, some)
    p = of(len(lengths), stats.present).astype(cosines.dtype)
    y = solvers.pinv_apply(cosines, jnp.where(lengths > 0, p, 0.0), stats.num_present)
    angles = cosines @ y
    square = y @ angles
    share = jnp.where(square > 0, (lengths @ angles) / jnp.where(square > 0, square, 1.0), 0.0)
    return y / some * share, state

  return gram_balancer(stateless_with(of), weigh, scale="other")
