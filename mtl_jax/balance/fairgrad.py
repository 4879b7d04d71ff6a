"""FairGrad: the alpha-fair update among tasks."""

from __future__ import annotations

from mtl_jax._core.errors import UserError
from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer


def fairgrad(alpha: float = 1.0) -> Balancer:
  r"""The update with the largest $\alpha$-fair utility of the tasks' gains $g_i \cdot u$ (paper's scale).

  $$ G w = w^{-1/\alpha}, \quad w > 0 $$

  $\alpha = 1$ is proportional fairness, the direction of `nash`; the larger, the more the worst-off task counts.

  Args:
    alpha: $\alpha$, positive. Between 0.1 and 10 solutions are exact to rounding for gradients of like lengths.

  Returns:
    The balancer. It reports `residual`, the largest $|w_i^{1/\alpha} (G w)_i - 1|$: large when the tasks' gradients
    are linearly dependent with positive coefficients (a Pareto-stationary point), where no solution exists.

  Raises:
    UserError: `alpha` is not positive.

  >>> import jax.numpy as jnp
  >>> from mtl_jax.balance import Stats
  >>> balancer = fairgrad(alpha=0.5)
  >>> weights, _ = balancer.weigh(Stats(jnp.ones(2), jnp.diag(jnp.array([1.0, 8.0]))), balancer.init(2))
  >>> weights.round(4).tolist()  # the cube roots of 1 and 1 / 8
  [1.0, 0.5]

  References:
    Ban, Ji, *Fair Resource Allocation in Multi-Task Learning*, ICML 2024. Deviation: the problem is convex and solved
    exactly by damped Newton steps, in place of a nonlinear least-squares solver on the host.
  """
  if alpha <= 0:
    raise UserError(f"fairgrad: alpha is {alpha}, expected above 0.")
  return solvers.solved(lambda stats: solvers.barrier_newton(stats.gram, 1.0 / alpha), scale="other")
