"""Stacked task gradients in, one combined gradient out."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp

from mtl_jax.balance._balancer import Balancer, Stats
from mtl_jax.balance._gram import gram


def combine(balancer: Balancer, rows: Any, losses: Any, state: Any) -> tuple[Any, jax.Array, Any]:
  """Weighs stacked task gradients by `balancer`.

  Args:
    balancer: The method.
    rows: The task gradients, a pytree with leaves (T, ...).
    losses: The plain task losses, (T,).
    state: The balancer's state.

  Returns:
    The combined gradient with leaves (...), the weights (T,), and the balancer's state.
  """
  stats = Stats(losses, gram(rows) if "gram" in balancer.needs else None)
  weights, state = balancer.weigh(stats, state)
  chex.assert_equal_shape([weights, losses])
  return weighted_sum(weights, rows), weights, state


def weighted_sum(weights: jax.Array, rows: Any) -> Any:
  """sum_t w_t row_t of every leaf, in the leaf's dtype."""
  return jax.tree.map(lambda r: jnp.tensordot(weights.astype(r.dtype), r, axes=1, precision="highest"), rows)
