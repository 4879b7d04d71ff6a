"""Krum: the mean of the gradients that are nearest to their neighbours."""

from __future__ import annotations

import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, gram_balancer


def krum(n_byzantine: int, n_selected: int = 1) -> Balancer:
  r"""Multi-Krum: the `n_selected` gradients nearest to most others; outliers weigh nothing (mean of the selected).

  $$ s_i = \sum_{j \in N_i} |g_i - g_j|^2, \qquad |g_i - g_j|^2 = G_{ii} + G_{jj} - 2 G_{ij} $$

  with $N_i$ the T - `n_byzantine` - 2 nearest others; those with the least $s_i$ are selected. In a step where fewer
  than `n_byzantine` + 3 tasks have labels, outliers cannot be told, and all of those tasks are averaged.

  Args:
    n_byzantine: How many gradients may be arbitrary, at least 0.
    n_selected: How many gradients are averaged, at least 1; 1 is Krum.

  Returns:
    The balancer.

  Raises:
    UserError: An option is out of range; at initialisation, fewer than `n_byzantine + 3` or `n_selected` tasks.

  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[1.0, 0.0], [1.1, 0.0], [1.0, 0.1], [-9.0, 5.0]])
  >>> weights, _ = krum(n_byzantine=1, n_selected=2).weigh(Stats(jnp.ones(4), gradients @ gradients.T), ())
  >>> weights.tolist()
  [0.5, 0.5, 0.0, 0.0]

  References:
    Blanchard, El Mhamdi, Guerraoui, Stainer, *Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent*,
    NeurIPS 2017. Scores sum squared distances, as in the paper; some implementations sum distances.
  """
  if n_byzantine < 0 or n_selected < 1:
    raise UserError(
      f"krum: n_byzantine is {n_byzantine} and n_selected {n_selected}, expected at least 0 and at least 1."
    )

  def check(num_tasks):
    least = max(n_byzantine + 3, n_selected)
    if num_tasks < least:
      raise UserError(
        f"krum: {num_tasks} tasks, expected at least {least} with n_byzantine={n_byzantine}, n_selected={n_selected}."
      )
    return ()

  def weigh(stats, state):
    gram, present, tasks = stats.gram, stats.present, stats.gram.shape[0]
    check(tasks)
    count, places = jnp.sum(present), jnp.arange(tasks)
    squares = jnp.diagonal(gram)
    distances = jnp.maximum(squares[:, None] + squares[None, :] - 2.0 * gram, 0.0)
    others = present[:, None] & present[None, :] & ~jnp.eye(tasks, dtype=bool)
    nearest = (places < count - n_byzantine - 2)[None, :]
    scores = jnp.sum(jnp.where(nearest, jnp.sort(jnp.where(others, distances, jnp.inf), axis=1), 0.0), axis=1)
    order = jnp.argsort(jnp.where(present, scores, jnp.inf))  # stable: of equals the first
    selected = jnp.where(count < n_byzantine + 3, count, jnp.minimum(n_selected, count))
    share = 1.0 / jnp.maximum(selected, 1).astype(squares.dtype)
    return jnp.zeros_like(squares).at[order].set(jnp.where(places < selected, share, 0.0)), state

  return gram_balancer(check, weigh, scale="mean")
