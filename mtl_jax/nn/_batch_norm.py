"""Batch normalisation that follows the dtype of its input while its statistics stay float32."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax.nn._affine import affine


class BatchNorm(nn.Module):
  """`nn.BatchNorm` computed in float32 whatever the dtype of input and parameters, with an output like the input.

  Its statistics are those of the whole batch, on however many devices: under `jax.jit` over a mesh the compiler sees to
  it, under `jax.shard_map` and `jax.pmap` over the axis `data` they are averaged over that axis.

  Linen's own promotes a bfloat16 input by its float32 statistics, which strict dtype promotion refuses.

  Attributes:
    momentum: The share of the running statistics that a step keeps.
    scale_init: The initializer of the scale.
    epsilon: What is added to the variance.
  """

  momentum: float = 0.9
  scale_init: nn.initializers.Initializer = nn.initializers.ones
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Normalises (..., C) over all axes but the last."""
    y = nn.BatchNorm(
      use_running_average=not train,
      momentum=self.momentum,
      epsilon=self.epsilon,
      use_scale=False,
      use_bias=False,
      axis_name=devices.DATA if devices.is_local() else None,
    )(x.astype(jnp.float32))
    return affine(self, y, x.dtype, self.scale_init)
