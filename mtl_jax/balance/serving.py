"""Stacked task gradients in, one combined gradient out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from mtl_jax._core.gram import gram
from mtl_jax._core.paths import matching
from mtl_jax.balance.balancer import Balancer, Stats

Present = Any  # (parts, T) bool, or None


def combine(
  balancer: Balancer,
  rows: Any,
  losses: Any,
  state: Any,
  total: Callable[[jax.Array], jax.Array] = lambda matrix: matrix,
  present: Present = None,
) -> tuple[Any, jax.Array, Any]:
  """Combines stacked task gradients by `balancer`.

  Args:
    balancer: The method.
    rows: The task gradients, a pytree with leaves (parts x T, ...): all tasks on the first part of the batch, then all
      on the next, as many as `balancer.shares` names.
    losses: The plain task losses, (T,).
    state: The balancer's state.
    total: Where the rows are parts of what several devices hold: makes their Gram matrix that of all.
    present: Which tasks have labels in which part, (parts, T) bool; None: all have.

  Returns:
    The combined gradient with leaves (...), the weights (T,), and the balancer's state.
  """
  matrix = total(gram(matching(rows, balancer.layers))) if needs_gram(balancer) else None
  stats = statistics(balancer, losses, matrix, present)
  if balancer.combine is not None:
    return balancer.combine(stats._replace(rows=rows), state)
  weights, state = balancer.weigh(stats, state)
  chex.assert_equal_shape([weights, losses])
  return weighted_sum(spread(weights, balancer.shares, present), rows), weights, state


def needs_gram(balancer: Balancer) -> bool:
  """Whether the balancer looks at inner products of task gradients."""
  return bool(balancer.needs & {"gram", "cross_gram"})


def statistics(balancer: Balancer, losses: jax.Array, matrix: jax.Array | None, present: Present = None) -> Stats:
  """The statistics, from the Gram matrix (parts x T, parts x T) of the gradients on all parts of the batch."""
  in_any = None if present is None else jnp.any(present, axis=0)
  stats = Stats(losses, matrix, present=in_any)
  parts, tasks = len(balancer.shares), losses.shape[0]
  if matrix is None or parts == 1:
    return stats
  blocks = matrix.reshape(parts, tasks, parts, tasks)
  dealt = shares_of(balancer.shares, tasks, present).astype(matrix.dtype)
  joint = jnp.einsum("at,atbs,bs->ts", dealt, blocks, dealt, precision="highest")
  return stats._replace(gram=joint, cross_gram=blocks[0, :, 1, :])


def spread(weights: jax.Array, shares: tuple[float, ...], present: Present = None) -> jax.Array:
  """The weights of the gradients on all parts of the batch, (parts x T,)."""
  return (weights[None, :] * shares_of(shares, weights.shape[0], present).astype(weights.dtype)).reshape(-1)


def shares_of(shares: tuple[float, ...], tasks: int, present: Present = None) -> jax.Array:
  """The share of each part of the batch in the gradient of each task, (parts, T): of a task, only parts with labels.

  >>> shares_of((0.5, 0.5), 2, jnp.array([[True, True], [True, False]])).tolist()
  [[0.5, 1.0], [0.5, 0.0]]
  """
  of_each = jnp.broadcast_to(jnp.asarray(shares, jnp.float32)[:, None], (len(shares), tasks))
  if present is None or len(shares) == 1:
    return of_each
  labelled = jnp.where(present, of_each, 0.0)
  total = jnp.sum(labelled, axis=0, keepdims=True)
  return jnp.where(total > 0, labelled / jnp.where(total > 0, total, 1.0), 0.0)


def weighted_sum(weights: jax.Array, rows: Any) -> Any:
  """sum_t w_t row_t of every leaf, in the leaf's dtype."""
  return jax.tree.map(lambda r: jnp.tensordot(weights.astype(r.dtype), r, axes=1, precision="highest"), rows)
