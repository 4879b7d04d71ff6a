"""The learned scale and bias after a normalisation."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp


def affine(
  module: nn.Module, y: jax.Array, dtype: jnp.dtype, scale_init: nn.initializers.Initializer = nn.initializers.ones
) -> jax.Array:
  """Float32 (..., C) times a scale plus a bias (C,), parameters of the module, rounded to the dtype at the end."""
  width, shape = y.shape[-1:], (1,) * (y.ndim - 1) + y.shape[-1:]
  scale = module.param("scale", scale_init, width).astype(jnp.float32).reshape(shape)
  bias = module.param("bias", nn.initializers.zeros, width).astype(jnp.float32).reshape(shape)
  return (y * scale + bias).astype(dtype)
