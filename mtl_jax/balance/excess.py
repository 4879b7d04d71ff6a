"""ExcessMTL: weights that grow with the estimated excess risk of each task."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, row_method
from mtl_jax.balance.serving import weighted_sum
from mtl_jax.balance.toolkit.present import keep_absent
from mtl_jax.balance.toolkit.rows import across, check_real, memory

_LARGEST = 1e30  # log weights stay finite in float32


class ExcessState(NamedTuple):
  """The sums of squared gradients, leaves (T, ...), the first excess risks, (T,), and the log weights, (T,)."""

  squares: Any
  initial: jax.Array
  log_weights: jax.Array


def excess(eta: float = 0.01) -> Balancer:
  r"""Excess-risk weighting: tasks further from their optimum weigh more, noisy ones do not (simplex scale).

  $$ w_i \propto w_i \exp(\eta E_i / E_i^{(1)}), \qquad E_i = g_i^T H_i^{-1/2} g_i, \qquad
  H_i = diag\Big(\sum_{steps} g_i^2\Big) $$

  E estimates the excess risk, the loss less the least loss of the task, to second order. Weights start at 1 / T and
  scale the gradients of the heads too.

  Args:
    eta: $\eta$, the step size of the weights, above 0.

  Returns:
    The balancer. Its state is as large as T gradients.

  Raises:
    UserError: `eta` is not positive; at initialisation, no shared parameters.

  >>> from mtl_jax.balance import Stats
  >>> balancer, rows = excess(eta=1.0), [jnp.array([[1.0], [1.0]])]
  >>> _, weights, state = balancer.combine(Stats(jnp.ones(2), rows=rows), balancer.init(2, [jnp.zeros(1)]))
  >>> rows = [jnp.array([[1.0], [0.0]])]  # the second task has converged
  >>> _, weights, state = balancer.combine(Stats(jnp.ones(2), rows=rows), state)
  >>> weights.round(2).tolist()  # 1 / (1 + exp(-1 / sqrt(2)))
  [0.67, 0.33]

  References:
    He, Zhou, Zhang, Yun, Xu, Zeng, Chilimbi, Zhao, *Robust Multi-Task Learning with Excess Risks*, ICML 2024. The
    paper's code multiplies the weights by T. Deviations: in the first step risks are relative too, hence 1, where the
    code takes them raw; a task without gradient in the first step is measured against
    the first risk that it has; without the code's 1e-7 under the root, which would change the risks of short gradients.
  """
  if eta <= 0:
    raise UserError(f"excess: eta is {eta}, expected above 0.")

  def init(num_tasks, shared=None):
    squares = memory("excess", num_tasks, shared)
    return ExcessState(squares, jnp.zeros(num_tasks), jnp.full(num_tasks, -np.log(num_tasks), jnp.float32))

  def combine(stats, state):
    check_real("excess", stats.rows, "would count as its real part alone")
    present = stats.present
    squares = jax.tree.map(lambda s, g: s + jnp.square(g.astype(s.dtype)), state.squares, stats.rows)

    def risk(g, s):
      g = g.astype(s.dtype)
      return jnp.sum(g * (g / jnp.sqrt(jnp.where(s > 0, s, 1.0))), axis=across(g)).astype(jnp.float32)

    risks = jnp.sum(jnp.stack(jax.tree.leaves(jax.tree.map(risk, stats.rows, squares))), axis=0)
    initial = jnp.where(state.initial > 0, state.initial, risks)
    relative = jnp.where(initial > 0, risks / jnp.where(initial > 0, initial, 1.0), 0.0)
    raised = state.log_weights + jnp.minimum(eta * relative, _LARGEST)
    weights = jax.nn.softmax(raised, where=present)
    # What the tasks present have together stays as it is.
    together, total = (jax.nn.logsumexp(x, where=present) for x in (state.log_weights, raised))
    kept = jnp.where(present, jnp.maximum(raised - total + together, -_LARGEST), state.log_weights)
    state = ExcessState(squares, keep_absent(present, initial, state.initial), kept)
    return weighted_sum(weights, stats.rows), weights, state

  return row_method(init, combine, head_weights=lambda weights, state: weights, scale="mean")
