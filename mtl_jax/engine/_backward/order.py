"""Order among operations of one program, so that the compiler cannot keep what was to be reduced and dropped.

`jax.lax.optimization_barrier` says the same, but XLA for CPUs, as of JAX 0.10, drops it before it
chooses the order.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def zero_after(value: jax.Array) -> jax.Array:
  """0 that is there when the array is: no magnitude is -inf, nor is NaN, but the compiler does not know."""
  return (jnp.abs(jnp.ravel(value)[:1].sum()) == -jnp.inf).astype(jnp.float32)


def after(value: jax.Array, zero: jax.Array) -> jax.Array:
  """The same array, when `zero` is there."""
  return value + zero.astype(value.dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value
