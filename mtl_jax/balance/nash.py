"""Nash-MTL: the Nash bargaining solution among tasks."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer


def nash(max_norm: float = 1.0) -> Balancer:
  r"""The update whose utilities, the tasks' gains $g_i \cdot u$, have the largest product (paper's scale).

  $$ G a = 1 / a, \quad a > 0 \qquad \Leftrightarrow \qquad a = \arg\min_{a > 0} \tfrac12 a^T G a - \sum_i \log a_i $$

  with G divided by its Frobenius norm, so that the update's length follows the gradients'; then the weights are
  scaled so that $|J^T w| \le$ `max_norm`.

  Args:
    max_norm: The largest norm of the update of the shared parameters; 0: no limit.

  Returns:
    The balancer. It reports `residual`, the largest $|a_i (G a)_i - 1|$: large when the tasks' gradients are
    linearly dependent with positive coefficients (a Pareto-stationary point), where no solution exists.

  Raises:
    UserError: `max_norm` is negative.

  >>> from mtl_jax.balance import Stats
  >>> balancer = nash(max_norm=0.0)
  >>> weights, _ = balancer.weigh(Stats(jnp.ones(2), jnp.diag(jnp.array([3.0, 4.0]))), balancer.init(2))
  >>> weights.round(4).tolist()  # sqrt(5 / 3), sqrt(5 / 4)
  [1.291, 1.118]

  References:
    Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya, *Multi-Task Learning as a Bargaining Game*,
    ICML 2022. Deviation: the problem is convex and solved exactly by damped Newton steps, in place of a sequence of
    20 convex-concave approximations with a silent fallback.
  """
  if max_norm < 0:
    raise UserError(f"nash: max_norm is {max_norm}, expected at least 0.")

  def weigh(stats):
    gram = stats.gram
    diagonal = jnp.diagonal(gram)
    has_gradient = ~(diagonal <= 0)  # NaN is one, so that it shows
    # Two scales, each safe in float32: the largest entry, then the Frobenius norm of the rest.
    largest = jnp.max(diagonal)
    unit = gram / jnp.where(largest > 0, largest, 1.0)
    norm = jnp.linalg.norm(unit)
    solution = solvers.barrier_newton(gram)
    a = jnp.where(has_gradient, solution.x * jnp.sqrt(norm) * jnp.sqrt(largest), 1.0)
    if max_norm > 0:
      # At the solution a^T G a is the number of tasks with a gradient. Found from G itself, it would be lost in
      # rounding where gradients oppose each other.
      length = jnp.sqrt(jnp.sum(has_gradient).astype(a.dtype)) * jnp.sqrt(norm) * jnp.sqrt(largest)
      a = a * jnp.minimum(1.0, max_norm / jnp.where(length > 0, length, max_norm))
    return solution._replace(x=a)

  return solvers.solved(weigh, scale="other")
