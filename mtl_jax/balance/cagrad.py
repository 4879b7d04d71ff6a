"""CAGrad: the update near the mean gradient that helps the worst-off task most."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mtl_jax._core.errors import UserError
from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.solvers.solution import directions, full_precision
from mtl_jax.balance.toolkit.present import far_off


def cagrad(c: float = 0.5, rescale: int = 1) -> Balancer:
  r"""Conflict-averse gradient: within $c |g_0|$ of the mean gradient, the update with the best worst gain (mean scale).

  $$ d = g_0 + c |g_0| \frac{g_w}{|g_w|}, \qquad w^* = \arg\min_{w \in \Delta} g_0 \cdot g_w + c |g_0| |g_w| $$

  with $g_0$ the mean gradient and $g_w = J^T w$; the weights are $1/T + c |g_0| / |g_w| \, w^*$, divided by 1,
  $1 + c^2$ or $1 + c$. For $c \ge 1$ the update conflicts with no task.

  Args:
    c: The radius, at least 0; 0 is the mean gradient.
    rescale: 0, 1 or 2: which of the divisors. 1 is that of the paper's code.

  Returns:
    The balancer. It reports `residual`, by how much some task's gain $g_i \cdot d$ is below the best worst gain,
    relative to $|g_i| |g_0|$.

  Raises:
    UserError: An option is out of range.

  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  >>> balancer = cagrad(c=0.5, rescale=0)
  >>> weights, _ = balancer.weigh(Stats(jnp.ones(2), gradients @ gradients.T), balancer.init(2))
  >>> (weights @ gradients).round(4).tolist()
  [0.1835, 1.2041, 1.2041]

  References:
    Liu, Liu, Jin, Stone, Liu, *Conflict-Averse Gradient Descent for Multi-task Learning*, NeurIPS 2021. Deviations:
    the problem is solved to rounding, in place of SLSQP or 20 SGD steps; where $g_w$ vanishes (a Pareto-stationary
    point) the direction of the best update is found with the solution, in place of dividing by $|g_w| + 10^{-8}$.
  """
  if c < 0 or rescale not in (0, 1, 2):
    raise UserError(f"cagrad: c is {c} and rescale {rescale}, expected c of at least 0 and rescale 0, 1 or 2.")
  divisor = (1.0, 1.0 + c * c, 1.0 + c)[rescale]

  @full_precision
  def weigh(stats):
    mean = jnp.where(stats.present, 1.0 / stats.num_present, 0.0).astype(stats.gram.dtype)
    cosines, length = with_mean(stats.gram, mean)

    def at_kink():
      # The best worst gain is 0. Of the updates with it, the projection on the dual cone is the nearest to the mean.
      nearest = solvers.bounded_qp(stats.gram, mean[None, :], is_hard=True).x[0]
      return (nearest - mean) / (c * jnp.where(length > 0, length, 1.0))

    found = solvers.simplex_norm(far_off(stats.gram, stats.present), cosines, c, at_kink if c > 0 else None)
    return solvers.Solution((mean + c * length * found.direction) / divisor, found.residual)

  return solvers.solved(weigh, scale="mean")


def with_mean(gram: Float[Array, "T T"], mean: Float[Array, " T"]) -> tuple[Float[Array, " T"], Float[Array, ""]]:
  """The cosines of the gradients with their mean, whose weights are given, and its length."""
  cosines, lengths = directions(gram)
  longest = jnp.max(lengths)
  relative = lengths / jnp.where(longest > 0, longest, 1.0)
  along = cosines @ (mean * relative)
  length = jnp.sqrt(jnp.maximum(along @ (mean * relative), 0.0))
  cosines = jnp.where(lengths > 0, jnp.clip(along / jnp.where(length > 0, length, 1.0), -1.0, 1.0), 0.0)
  return cosines, length * longest
