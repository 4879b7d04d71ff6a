"""DB-MTL: gradients of the logarithms of the losses, averaged and rescaled to the largest norm."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, row_method
from mtl_jax.balance.toolkit.present import keep_absent
from mtl_jax.balance.toolkit.rows import column, in_dtypes_of, memory, row_norms


class DbState(NamedTuple):
  """Steps with labels, (T,), averages of the gradients, leaves (T, ...), factors of the heads' gradients, (T,)."""

  steps: jax.Array
  averages: Any
  head_weights: jax.Array


def db(beta: float = 0.9, beta_sigma: float = 0.2) -> Balancer:
  r"""Dual balancing: of the scales of the losses by their logarithms, of the gradients by their norms (paper's scale).

  $$ y_i \leftarrow \beta_k y_i + (1 - \beta_k) \nabla \log l_i, \qquad \beta_k = \beta / k^{\sigma}, \qquad
  update = \max_j |y_j| \sum_i y_i / |y_i| $$

  in step k with labels of the task, with y starting at 0. Heads get the gradient of the logarithm of their loss,
  $\nabla l_i / l_i$.

  Args:
    beta: $\beta$, from 0 to below 1; 0 is no memory.
    beta_sigma: $\sigma$, at least 0: how fast the memory fades.

  Returns:
    The balancer. Its state is as large as T gradients; the weights reported, $\max_j |y_j| / |y_i|$, multiply y. It
    takes positive losses.

  Raises:
    UserError: An option is out of range; at initialisation, no shared parameters.

  >>> from mtl_jax.balance import Stats
  >>> balancer, rows = db(beta=0.0), [jnp.array([[4.0, 0.0], [0.0, 1.0]])]
  >>> update, weights, _ = balancer.combine(Stats(jnp.array([2.0, 1.0]), rows=rows), balancer.init(2, [jnp.zeros(2)]))
  >>> update[0].tolist(), weights.tolist()
  ([2.0, 2.0], [1.0, 2.0])

  References:
    Lin, Jiang, Ye, Zhang, Chen, Chen, Liu, Tsang, Kwok, *Dual-Balancing for Multi-Task Learning*, 2023. Deviation: no
    $10^{-8}$ is added to losses and norms; tasks without gradient are left out.
  """
  if not 0 <= beta < 1 or beta_sigma < 0:
    raise UserError(
      f"db: beta is {beta} and beta_sigma {beta_sigma}, expected beta from 0 to below 1, beta_sigma of at least 0."
    )

  def init(num_tasks, shared=None):
    return DbState(jnp.zeros(num_tasks, jnp.int32), memory("db", num_tasks, shared), jnp.ones(num_tasks))

  def combine(stats, state):
    steps = keep_absent(stats.present, state.steps + 1, state.steps)
    share = jnp.where(stats.present, beta / jnp.maximum(steps, 1).astype(jnp.float32) ** beta_sigma, 1.0)

    def average(y, g):
      new = g.astype(y.dtype) / column(stats.losses, y)
      return new + column(share, y) * (y - new)

    averages = jax.tree.map(average, state.averages, stats.rows)  # exactly as they were where g is 0 and the share 1
    norms = jnp.where(stats.present, row_norms(averages), 0.0)
    some, largest = jnp.where(norms > 0, norms, jnp.inf), jnp.max(norms)
    # In this order nothing overflows: the factor of a short gradient may.
    directions = jax.tree.map(lambda y: jnp.sum(y / column(some, y), axis=0), averages)
    update = jax.tree.map(lambda u: largest.astype(u.dtype) * u, directions)
    weights = jnp.minimum(jnp.where(norms > 0, largest / some, 1.0), jnp.finfo(norms.dtype).max)
    head_weights = keep_absent(stats.present, 1.0 / stats.losses, state.head_weights)
    return in_dtypes_of(stats.rows, update), weights, DbState(steps, averages, head_weights)

  return row_method(
    init,
    combine,
    losses=True,
    losses_above=0.0,
    head_weights=lambda weights, state: state.head_weights,
    scale="other",
  )
