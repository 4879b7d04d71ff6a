"""Convolutions of images: how they are computed, and the layer of which decoders and heads are made."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.nn._batch_norm import BatchNorm
from mtl_jax.shard import constrain


def convolved(
  x: jax.Array, width: int, train: bool, stride: int = 1, names: tuple[str | None, str | None] = (None, None)
) -> jax.Array:
  """A 3 x 3 convolution, batch normalisation and ReLU; called inside a module, whose children the first two become.

  Args:
    x: Maps (B, H, W, C).
    width: The channels of the convolution.
    train: As in the module.
    stride: That of the convolution.
    names: Those of convolution and normalisation; None: by their kinds and numbers, as Linen does.

  Returns:
    Maps of this width.
  """
  init = nn.initializers.he_normal()
  x = Conv(width, (3, 3), (stride, stride), use_bias=False, kernel_init=init, name=names[0])(x)
  return constrain(nn.relu(BatchNorm(name=names[1])(x, train)))


def convolve(x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **more: Any) -> jax.Array:
  """`jax.lax.conv_general_dilated` of maps, for `nn.Conv`, but with kernels of one pixel as a product with a matrix.

  On CPU the product and its gradients take 0.4 to 0.8 of the time of the convolution, and 0.2 to 0.4 of it for copies
  of a net that run as one, where XLA has no fast code for the convolution.

  Args:
    x: Maps (B, H, W, C).
    kernel: (h, w, C, D).
    strides: Of both axes.
    padding: As in JAX.
    **more: As in JAX.

  Returns:
    Maps of D channels.
  """
  if kernel.shape[:2] != (1, 1) or more.get("feature_group_count", 1) != 1 or padding not in ("SAME", "VALID"):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **more)
  down, right = strides
  return jnp.matmul(x[:, ::down, ::right], kernel.reshape(kernel.shape[2:]), precision=more.get("precision"))


Conv = functools.partial(nn.Conv, conv_general_dilated=convolve)
"""A convolution of maps, so computed."""
