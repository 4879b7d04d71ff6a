"""A plain convolutional trunk for small images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from mtl_jax.nn._images import check_images
from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain


class CNN(nn.Module):
  r"""Stages of convolution, activation and max pooling, then a dense layer over the whole map.

  $$ h_i = pool(\phi(conv_i(h_{i-1}))), \qquad y = dropout(\phi(W flatten(h_n) + b)) $$

  Computes in the dtype of its parameters and input, which must agree. Its stages, see `mtl.nn.stages`, are the
  convolutions with their pooling, and what makes features of the last map.

  Attributes:
    channels: The channels of each stage.
    features: The width F of the dense layer; None: no such layer, the mean of the map over its positions instead.
    kernel: The side of the convolutions.
    strides: The stride of the convolutions.
    pool: The side and stride of the max pooling; 1: none.
    activation: $\phi$.
    dropout: The share of the dense layer's units set to zero when training, in [0, 1).

  >>> import jax.numpy as jnp
  >>> trunk = CNN((8, 16), features=32)
  >>> y, _ = jax.eval_shape(trunk.init_with_output, jax.random.key(0), jnp.ones((2, 12, 12, 1)))
  >>> y.shape
  (2, 32)

  References:
    LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, 1998.
  """

  channels: Sequence[int] = (32, 64)
  features: int | None = 128
  kernel: int = 3
  strides: int = 1
  pool: int = 2
  activation: Callable[[jax.Array], jax.Array] = nn.relu
  dropout: float = 0.0

  @property
  def num_stages(self) -> int:
    """The convolutions, and what makes features of the last map."""
    return len(self.channels) + 1

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, stage: int | None = None) -> jax.Array:
    """Maps images to features; with `stage`, through that one alone.

    Args:
      x: Images (B, H, W, C); with `stage`, what the stage before gives.
      train: Whether units are dropped, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, F), or what the stage gives.
    """
    if stage in (None, 0):
      check_images("CNN", x)
    for i in chosen(self, stage):
      x = self._convolve(i, x) if i < len(self.channels) else self._flatten(x, train)
    return x

  def _convolve(self, i: int, x: jax.Array) -> jax.Array:
    side, strides = (self.kernel, self.kernel), (self.strides, self.strides)
    x = constrain(self.activation(nn.Conv(self.channels[i], side, strides, name=f"Conv_{i}")(x)))
    if self.pool == 1:
      return x
    window = (self.pool, self.pool)
    return nn.max_pool(x, window_shape=window, strides=window, padding="SAME")  # converters want them by name

  def _flatten(self, x: jax.Array, train: bool) -> jax.Array:
    if self.features is None:
      return x.mean(axis=(1, 2))
    x = constrain(self.activation(nn.Dense(self.features)(x.reshape(x.shape[0], -1))))
    return nn.Dropout(self.dropout, deterministic=not train)(x)
