"""DualProj: the mean gradient, projected to where it harms no task."""

from __future__ import annotations

from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.toolkit.dual_cone import check_epsilons, regularized
from mtl_jax.balance.toolkit.preference import Preference, preferences


def dualproj(preference: Preference = None, norm_eps: float = 0.0, reg_eps: float = 0.0) -> Balancer:
  r"""The mean gradient projected onto the dual cone of the task gradients, as in gradient episodic memory (mean scale).

  $$ w = \arg\min_{v \ge p} v^T G' v, \qquad G' = G / tr(G) + \epsilon I $$

  The update harms no task, whatever the lengths of the gradients, since the program is solved for their cosines. Where
  G is singular many weights make the one update; these are bounded.

  Args:
    preference: p, (T,), not negative, in the order of the tasks; None: 1 / T each.
    norm_eps: Of TorchJD, which takes 1e-4: where the trace of G is at most this, all gradients count as 0 and the
      weights are p. 0 is exact at any scale.
    reg_eps: $\epsilon$, of TorchJD, which takes 1e-4; the update then conflicts with short gradients. 0 is exact.

  Returns:
    The balancer. It reports `residual`, the largest violation of the optimality conditions of the quadratic program,
    relative to $|g_i| \sum_j |w_j g_j|$.

  Raises:
    UserError: A negative option; at initialisation, a preference of another length than the number of tasks.

  >>> import jax.numpy as jnp
  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  >>> balancer = dualproj()
  >>> weights, _ = balancer.weigh(Stats(jnp.ones(2), gradients @ gradients.T), balancer.init(2))
  >>> (weights @ gradients).round(4).tolist()
  [0.5556, 1.1111, 1.1111]

  References:
    Lopez-Paz, Ranzato, *Gradient Episodic Memory for Continual Learning*, NeurIPS 2017.
  """
  check_epsilons("dualproj", norm_eps, reg_eps)
  of = preferences("dualproj", preference)

  def weigh(stats):
    gram = regularized(stats.gram, norm_eps, reg_eps)
    solution = solvers.bounded_qp(gram, of(gram.shape[0], stats.present).astype(gram.dtype)[None, :])
    return solvers.Solution(solution.x[0], solution.residual)

  return solvers.solved(weigh, check=of, scale="mean")
