"""Layer normalisation that follows the dtype of its input."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.nn._affine import affine


class LayerNorm(nn.Module):
  """`nn.LayerNorm` computed in float32 whatever the dtype of input and parameters, with an output like the input.

  Linen's own promotes a bfloat16 input by its float32 statistics, which strict dtype promotion refuses.

  Attributes:
    epsilon: What is added to the variance.
  """

  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalises (..., D) over the last axis."""
    y = x.astype(jnp.float32)
    y = y - y.mean(axis=-1, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.square(y).mean(axis=-1, keepdims=True) + self.epsilon)
    return affine(self, y, x.dtype)
