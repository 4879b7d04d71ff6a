"""Stacked task gradients in, one combined gradient out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from mtl_jax.balance._balancer import Balancer, Stats
from mtl_jax.balance._gram import gram
from mtl_jax.balance._layers import matching


def combine(
  balancer: Balancer,
  rows: Any,
  losses: Any,
  state: Any,
  total: Callable[[jax.Array], jax.Array] = lambda matrix: matrix,
) -> tuple[Any, jax.Array, Any]:
  """Combines stacked task gradients by `balancer`.

  Args:
    balancer: The method.
    rows: The task gradients, a pytree with leaves (parts x T, ...): all tasks on the first part of the batch, then all
      on the next, as many as `balancer.split` names.
    losses: The plain task losses, (T,).
    state: The balancer's state.
    total: Where the rows are parts of what several devices hold: makes their Gram matrix that of all.

  Returns:
    The combined gradient with leaves (...), the weights (T,), and the balancer's state.
  """
  matrix = total(gram(matching(rows, balancer.layers))) if needs_gram(balancer) else None
  stats = statistics(balancer, losses, matrix)
  if balancer.combine is not None:
    return balancer.combine(stats._replace(rows=rows), state)
  weights, state = balancer.weigh(stats, state)
  chex.assert_equal_shape([weights, losses])
  return weighted_sum(spread(weights, balancer.split), rows), weights, state


def needs_gram(balancer: Balancer) -> bool:
  """Whether the balancer looks at inner products of task gradients."""
  return bool(balancer.needs & {"gram", "cross_gram"})


def statistics(balancer: Balancer, losses: jax.Array, matrix: jax.Array | None) -> Stats:
  """The statistics, from the Gram matrix (parts x T, parts x T) of the gradients on all parts of the batch."""
  if matrix is None:
    return Stats(losses)
  parts, tasks = len(balancer.split), losses.shape[0]
  if parts == 1:
    return Stats(losses, matrix)
  blocks = matrix.reshape(parts, tasks, parts, tasks)
  shares = jnp.array(balancer.split, matrix.dtype)
  joint = jnp.einsum("a,atbs,b->ts", shares, blocks, shares, precision="highest")
  return Stats(losses, joint, blocks[0, :, 1, :])


def spread(weights: jax.Array, split: tuple[float, ...]) -> jax.Array:
  """The weights of the gradients on all parts of the batch, (parts x T,)."""
  return jnp.concatenate([weights * share for share in split])


def weighted_sum(weights: jax.Array, rows: Any) -> Any:
  """sum_t w_t row_t of every leaf, in the leaf's dtype."""
  return jax.tree.map(lambda r: jnp.tensordot(weights.astype(r.dtype), r, axes=1, precision="highest"), rows)
