"""MoCo: task gradients tracked by moving averages, weighted by projected steps towards the least norm."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax._core.gram import gram
from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer, row_method
from mtl_jax.balance.serving import weighted_sum
from mtl_jax.balance.solvers.solution import full_precision
from mtl_jax.balance.toolkit.present import keep_absent, on_simplex
from mtl_jax.balance.toolkit.rows import column, in_dtypes_of, memory, row_norms

Normalize = Literal["none", "l2", "loss", "loss+"]


class MocoState(NamedTuple):
  """Steps with labels, (T,), the tracked gradients, leaves (T, ...), and the weights, (T,)."""

  steps: jax.Array
  tracked: Any
  weights: jax.Array


def moco(
  beta: float = 0.5, gamma: float = 0.1, rho: float = 0.0, decay: float = 0.0, normalize: Normalize = "none"
) -> Balancer:
  r"""Multi-objective gradient correction: least-norm weights without the bias of noisy gradients (simplex scale).

  $$ y_i \leftarrow y_i - \beta_k (y_i - g_i), \qquad
  \lambda \leftarrow \Pi_\Delta\big(\lambda - \gamma_k (Y Y^T + \rho I) \lambda\big), \qquad update = Y^T \lambda $$

  with $\beta_k = \beta / k^{decay}$ and $\gamma_k = \gamma / k^{decay}$ in step k, where $\beta_k$ counts the steps
  with labels of the task. y starts at 0, $\lambda$ at 1 / T.

  Args:
    beta: The step size of the tracked gradients, above 0 to 1; 1 is no memory.
    gamma: The step size of the weights, above 0. It goes with the square of the gradients' length.
    rho: The regularisation of the weights towards 1 / T, at least 0.
    decay: The exponent of the decay of both step sizes, at least 0.
    normalize: What $y_i$ is divided by, for weights and update: 1, its norm ("l2"), its loss, or their product.

  Returns:
    The balancer. Its state is as large as T gradients; the weights reported multiply the tracked gradients.

  Raises:
    UserError: An option is out of range; at initialisation, no shared parameters.

  >>> from mtl_jax.balance import Stats
  >>> balancer, rows = moco(beta=1.0), [jnp.array([[2.0, 0.0], [0.0, 1.0]])]
  >>> _, weights, _ = balancer.combine(Stats(jnp.ones(2), rows=rows), balancer.init(2, [jnp.zeros(2)]))
  >>> weights.round(3).tolist()  # 1/2 - 0.1 (4, 1) / 2, projected
  [0.425, 0.575]

  References:
    Fernando, Shen, Liu, Chaudhury, Murugesan, Chen, *Mitigating Gradient Bias in Multi-Objective Learning: A Provably
    Convergent Approach*, ICLR 2023. `normalize` is that of the paper's code. Some implementations apply a softmax to
    the weights in each step in place of the projection; here they are projected, as in the paper.
  """
  if not 0 < beta <= 1 or gamma <= 0 or rho < 0 or decay < 0:
    raise UserError(
      f"moco: beta is {beta}, gamma {gamma}, rho {rho} and decay {decay}, expected beta above 0 to 1, gamma above 0, "
      "rho and decay of at least 0."
    )
  check_choice("moco", "normalize", normalize, get_args(Normalize))
  by_loss = normalize.startswith("loss")

  def init(num_tasks, shared=None):
    tracked = memory("moco", num_tasks, shared)
    return MocoState(jnp.zeros(num_tasks, jnp.int32), tracked, jnp.full(num_tasks, 1.0 / num_tasks, jnp.float32))

  @full_precision
  def combine(stats, state):
    present = stats.present
    steps = keep_absent(present, state.steps + 1, state.steps)
    share = jnp.where(present, beta / jnp.maximum(steps, 1).astype(jnp.float32) ** decay, 0.0)
    tracked = jax.tree.map(lambda y, g: y - column(share, y) * (y - g.astype(y.dtype)), state.tracked, stats.rows)
    falling = 1.0 / jnp.max(jnp.where(present, steps, 1)).astype(jnp.float32) ** decay
    divisors = row_norms(tracked) if normalize in ("l2", "loss+") else jnp.ones_like(state.weights)
    divisors = divisors * stats.losses if by_loss else divisors
    divisors = jnp.where(divisors > 0, divisors, 1.0)
    unit = jax.tree.map(lambda y: y / column(divisors, y), tracked)
    products = gram(unit)

    def step(w):
      return solvers.project_simplex(w - gamma * falling * (products @ w + rho * w), present)

    weights, kept = on_simplex(state.weights, present, step)
    update = in_dtypes_of(stats.rows, weighted_sum(weights, unit))
    return update, weights / divisors, MocoState(steps, tracked, kept)

  return row_method(init, combine, losses=by_loss, losses_above=0.0 if by_loss else -jnp.inf, scale="mean")
