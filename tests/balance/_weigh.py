"""Balancers on Gram matrices, all at once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.balance import Balancer, Stats


def weigh(balancer: Balancer, grams: Any) -> np.ndarray:
  """The weights (N, T) at each matrix of `grams` (N, T, T), in float32, from the first state."""
  tasks = len(grams[0])
  state = balancer.init(tasks)
  # One after the other: compiles faster than batched solvers do.
  step = jax.jit(lambda stack: jax.lax.map(lambda g: balancer.weigh(Stats(jnp.ones(tasks), g), state)[0], stack))
  return np.asarray(step(jnp.asarray(grams, jnp.float32)), np.float64)


def products(rows: np.ndarray) -> np.ndarray:
  """The Gram matrices (N, T, T) of gradients (N, T, P), in float64."""
  return np.einsum("ntp,nsp->nts", rows.astype(np.float64), rows.astype(np.float64))
