"""A moving average of any balancer's weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.named import as_balancer
from mtl_jax.balance.toolkit.present import keep_absent


class SmoothState(NamedTuple):
  """The balancer's state, the average weights, (T,), and the steps with labels of each task, (T,)."""

  balancer: Any
  average: jax.Array
  steps: jax.Array


def smooth(balancer: Balancer | str, beta: float = 0.9) -> Balancer:
  r"""A moving average over steps of the weights of `balancer` (its scale).

  $$ \bar w^{(k)} = \beta \bar w^{(k-1)} + (1 - \beta) w^{(k)}, \qquad \bar w^{(1)} = w^{(1)} $$

  It takes the noise of batches out of the weights, which makes stochastic gradient balancing converge.

  Args:
    balancer: A method with weights, or its name.
    beta: $\beta$, from 0 to below 1.

  Returns:
    The balancer.

  Raises:
    UserError: `beta` is out of range; a method whose update is no weighted sum of the task gradients.

  >>> import mtl_jax as mtl
  >>> from mtl_jax.balance import Stats
  >>> balancer = smooth(mtl.balance.constant(lambda step: jnp.full(2, 1.0 + step.astype(jnp.float32))), beta=0.5)
  >>> state = balancer.init(2)
  >>> for _ in range(2):
  ...   weights, state = balancer.weigh(Stats(jnp.ones(2)), state)
  >>> weights.tolist()
  [1.5, 1.5]

  References:
    Zhou, Zhang, Yuan, Ge, Gu, *On the Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond*,
    NeurIPS 2022 (CR-MOGM).
  """
  balancer = as_balancer(balancer, "smooth: balancer")
  if not 0 <= beta < 1:
    raise UserError(f"smooth: beta is {beta}, expected from 0 to below 1.")
  if balancer.combine is not None:
    raise UserError(
      "smooth: this balancer's update is no weighted sum of the task gradients: there is nothing to smooth."
    )

  def init(num_tasks, shared=None):
    zeros = jnp.zeros(num_tasks, jnp.int32)
    return SmoothState(balancer.init(num_tasks, shared), jnp.zeros(num_tasks, jnp.float32), zeros)

  def step(inner, stats, state):
    _, weights, within = inner(stats, state.balancer)
    weights, present = weights.astype(jnp.float32), stats.filled().present
    average = jnp.where(state.steps == 0, weights, beta * state.average + (1.0 - beta) * weights)
    kept = keep_absent(present, (average, state.steps + 1), (state.average, state.steps))
    return None, jnp.where(present, average, 0.0), SmoothState(within, *kept)

  return balancer.around(
    step,
    init=init,
    head_weights=lambda weights, state: balancer.head_weights(weights, state.balancer),
    report=lambda state: balancer.report(state.balancer),
    observe=lambda before, after, state: state._replace(balancer=balancer.observe(before, after, state.balancer)),
    by_name=lambda names: smooth(balancer.for_tasks(names), beta),
  )
