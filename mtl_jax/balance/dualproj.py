"""DualProj: the mean gradient, projected to where it harms no task."""

from __future__ import annotations

from mtl_jax.balance import _solvers
from mtl_jax.balance._balancer import Balancer
from mtl_jax.balance._dual_cone import check_epsilons, regularized
from mtl_jax.balance._preference import Preference, preferences


def dualproj(preference: Preference = None, norm_eps: float = 0.0, reg_eps: float = 0.0) -> Balancer:
  r"""The mean gradient projected onto the dual cone of the task gradients, as in gradient episodic memory (mean scale).

  $$ w = \arg\min_{v \ge p} v^T G' v, \qquad G' = G / tr(G) + \epsilon I $$

  Args:
    preference: p, (T,), not negative, in the order of the tasks; None: 1 / T each.
    norm_eps: Below this trace of G all gradients count as 0, and the weights are p.
    reg_eps: $\epsilon$. It makes the solution unique; the update may conflict with a task by about as much.

  Returns:
    The balancer. It reports `residual`, the largest violation of the optimality conditions of the quadratic program,
    relative to the largest of the gradients $p_i g_i$ and in the norm of G'.

  Raises:
    UserError: A negative option; at initialisation, a preference of another length than the number of tasks.

  >>> import jax.numpy as jnp
  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  >>> balancer = dualproj()
  >>> weights, _ = balancer.weigh(Stats(jnp.ones(2), gradients @ gradients.T), balancer.init(2))
  >>> (weights @ gradients).round(4).tolist()
  [0.5563, 1.1109, 1.1109]

  References:
    Lopez-Paz, Ranzato, *Gradient Episodic Memory for Continual Learning*, NeurIPS 2017.
  """
  check_epsilons("dualproj", norm_eps, reg_eps)
  of = preferences("dualproj", preference)

  def weigh(stats):
    gram = regularized(stats.gram, norm_eps, reg_eps)
    solution = _solvers.bounded_qp(gram, of(gram.shape[0]).astype(gram.dtype)[None, :])
    return _solvers.Solution(solution.x[0], solution.residual)

  return _solvers.solved(weigh, check=of, scale="mean")
