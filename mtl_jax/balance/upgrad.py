"""UPGrad: the mean of the task gradients, each projected to where it harms no task."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.toolkit.dual_cone import check_epsilons, regularized
from mtl_jax.balance.toolkit.preference import Preference, preferences


def upgrad(preference: Preference = None, norm_eps: float = 0.0, reg_eps: float = 0.0) -> Balancer:
  r"""Unconflicting projections of the task gradients: each onto the dual cone of all, then their mean (mean scale).

  $$ w = \sum_i \arg\min_{v \ge p_i e_i} v^T G' v, \qquad G' = G / tr(G) + \epsilon I $$

  The update harms no task, is linear in a scaling of the gradients, and vanishes only at Pareto-stationary points:
  whatever the lengths of the gradients, since the programs are solved for their cosines. Where G is singular many
  weights make the one update; these are bounded.

  Args:
    preference: p, (T,), not negative, in the order of the tasks; None: 1 / T each.
    norm_eps: Of TorchJD, which takes 1e-4: where the trace of G is at most this, all gradients count as 0 and the
      weights are p. 0 is exact at any scale.
    reg_eps: $\epsilon$, of TorchJD, which takes 1e-4; the update then conflicts with short gradients. 0 is exact.

  Returns:
    The balancer. It reports `residual`, the largest violation of the optimality conditions of the T quadratic
    programs, relative to $|g_i| \sum_j |v_j g_j|$.

  Raises:
    UserError: A negative option; at initialisation, a preference of another length than the number of tasks.

  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  >>> balancer = upgrad()
  >>> weights, _ = balancer.weigh(Stats(jnp.ones(2), gradients @ gradients.T), balancer.init(2))
  >>> (weights @ gradients).round(4).tolist()
  [0.2924, 1.9006, 1.9006]

  References:
    Quinton, Rey, *Jacobian Descent for Multi-Objective Optimization*, 2024. Deviation: without $\epsilon$, exact.
  """
  check_epsilons("upgrad", norm_eps, reg_eps)
  of = preferences("upgrad", preference)

  def weigh(stats):
    gram = regularized(stats.gram, norm_eps, reg_eps)
    solution = solvers.bounded_qp(gram, jnp.diag(of(gram.shape[0], stats.present).astype(gram.dtype)))
    return solvers.Solution(jnp.sum(solution.x, axis=0), solution.residual)

  return solvers.solved(weigh, check=of, scale="mean")
