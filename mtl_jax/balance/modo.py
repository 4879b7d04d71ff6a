"""MoDo: projected steps of the weights towards the least norm, without bias by double sampling."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer, cross_gram_balancer
from mtl_jax.balance.solvers.solution import full_precision
from mtl_jax.balance.toolkit.present import on_simplex


def modo(gamma: float = 0.1, rho: float = 0.1, third: bool = False) -> Balancer:
  r"""Multi-objective gradient with double sampling: the weights take a step with each update (simplex scale).

  $$ \lambda \leftarrow \Pi_\Delta\big(\lambda - \gamma (J_1 J_2^T + \rho I) \lambda\big), \qquad
  update = J^T \lambda $$

  with the gradients on one half of the batch against those on the other: the expectation of $J_1 J_2^T$ is $G$ without
  the variance of the gradients.

  Args:
    gamma: The step size of the weights, above 0. It goes with the square of the gradients' length.
    rho: The regularisation of the weights towards 1 / T, at least 0.
    third: Cut the batch into three parts, the last for the update alone; False: two, the update is on both.

  Returns:
    The balancer; its state is the weights.

  Raises:
    UserError: An option is out of range.

  >>> from mtl_jax.balance import Stats
  >>> balancer, gram = modo(), jnp.diag(jnp.array([4.0, 1.0]))
  >>> balancer.weigh(Stats(jnp.ones(2), gram, gram), balancer.init(2))[0].round(3).tolist()
  [0.425, 0.575]

  References:
    Chen, Fernando, Ying, Chen, *Three-Way Trade-Off in Multi-Objective Learning: Optimization, Generalization and
    Conflict-Avoidance*, NeurIPS 2023. The paper's code sums the halves' updates; here the update is their mean.
  """
  if gamma <= 0 or rho < 0:
    raise UserError(f"modo: gamma is {gamma} and rho {rho}, expected gamma above 0 and rho of at least 0.")

  @full_precision
  def weigh(stats, weights):
    def step(w):
      return solvers.project_simplex(w - gamma * (stats.cross_gram @ w + rho * w), stats.present)

    return on_simplex(weights, stats.present, step)

  return cross_gram_balancer(
    lambda num_tasks: jnp.full(num_tasks, 1.0 / num_tasks, jnp.float32), weigh, third=third, scale="mean"
  )
