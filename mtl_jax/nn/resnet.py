"""Residual networks: of basic blocks (ResNet-18 and 34), post- or pre-activation, or of bottlenecks (ResNet-50)."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax

from mtl_jax._core.errors import UserError
from mtl_jax.nn._batch_norm import BatchNorm
from mtl_jax.nn._convolution import Conv
from mtl_jax.nn._images import check_images
from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain


class ResNet(nn.Module):
  r"""Stages of residual blocks, each stage at half the resolution and twice the channels of the one before.

  $$ h \leftarrow \phi(h + B(C(\phi(B(C(h)))))) \quad\text{or, pre-activation,}\quad
     h \leftarrow h + C(\phi(B(C(\phi(B(h)))))) $$

  with convolutions C of side 3, or bottlenecks of sides 1, 3 and 1, batch normalisation B and ReLU $\phi$; then the
  mean over positions. Computes in the dtype of its parameters and input, which must agree; batch statistics are
  float32. What `mtl.nn.stages` gives are the stem, the stages and the mean over positions, so maps of every resolution
  can be had.

  Attributes:
    stage_sizes: The number of blocks of each stage; (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-34, and
      ResNet-50 with bottlenecks.
    width: The channels of the first stage.
    small_images: A stem of one 3 x 3 convolution at full resolution, for images of about 32 pixels; False: the
      7 x 7 stem that reduces images four times.
    preactivation: Normalise and activate before each convolution, keeping the residual path linear.
    bottleneck: Blocks of three convolutions, the middle one of a quarter of the block's channels, of which a stage has
      four times as many.

  >>> import jax.numpy as jnp
  >>> trunk = ResNet((1, 1), width=8, small_images=True)
  >>> y, _ = jax.eval_shape(trunk.init_with_output, jax.random.key(0), jnp.ones((2, 16, 16, 3)))
  >>> y.shape
  (2, 16)

  References:
    He et al., *Deep Residual Learning for Image Recognition*, 2016.
    He et al., *Identity Mappings in Deep Residual Networks*, 2016.
  """

  stage_sizes: Sequence[int] = (2, 2, 2, 2)
  width: int = 64
  small_images: bool = False
  preactivation: bool = False
  bottleneck: bool = False

  @property
  def num_stages(self) -> int:
    """The stem, the stages of blocks, and the mean over positions."""
    return len(self.stage_sizes) + 2

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, stage: int | None = None) -> jax.Array:
    """Maps images to features; with `stage`, through that one alone.

    Args:
      x: Images (B, H, W, C); with `stage`, what the stage before gives.
      train: Whether batches are normalised by their own statistics, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, width * 2 ** (stages - 1)), four times as many with bottlenecks, or what the stage gives.

    Raises:
      UserError: The input is no such images; bottlenecks with preactivation.
    """
    if self.bottleneck and self.preactivation:
      raise UserError("ResNet: bottlenecks with preactivation are not there: choose one of the two.")
    if stage in (None, 0):
      check_images("ResNet", x)
    for i in chosen(self, stage):
      if i == 0:
        x = self._stem(x, train)
      elif i <= len(self.stage_sizes):
        x = self._blocks(i - 1, x, train)
      else:
        x = self._pool(x, train)
    return x

  def _stem(self, x: jax.Array, train: bool) -> jax.Array:
    side, stride = (3, 1) if self.small_images else (7, 2)
    x = constrain(_conv(self.width, side, stride, name="Conv_0")(x))
    if not self.preactivation:
      x = nn.relu(BatchNorm(name="BatchNorm_0")(x, train))
    return x if self.small_images else nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding="SAME")

  def _blocks(self, stage: int, x: jax.Array, train: bool) -> jax.Array:
    block = _PreactivationBlock if self.preactivation else _Bottleneck if self.bottleneck else _Block
    for i in range(self.stage_sizes[stage]):
      stride = 2 if stage > 0 and i == 0 else 1
      x = block(self.width * 2**stage, stride, name=f"stage_{stage}_block_{i}")(x, train)
    return x

  def _pool(self, x: jax.Array, train: bool) -> jax.Array:
    if self.preactivation:
      x = nn.relu(BatchNorm(name="BatchNorm_0")(x, train))
    return x.mean(axis=(1, 2))


def _conv(channels: int, side: int, stride: int = 1, name: str | None = None) -> nn.Conv:
  init = nn.initializers.he_normal()
  return Conv(channels, (side, side), (stride, stride), use_bias=False, kernel_init=init, name=name)


class _Block(nn.Module):
  channels: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    y = constrain(nn.relu(BatchNorm()(_conv(self.channels, 3, self.stride)(x), train)))
    # Starting each block as the identity lets deep nets train at full learning rate (Goyal et al., 2017).
    y = BatchNorm(scale_init=nn.initializers.zeros)(_conv(self.channels, 3)(y), train)
    if x.shape != y.shape:
      x = BatchNorm()(_conv(self.channels, 1, self.stride)(x), train)
    return constrain(nn.relu(x + y))


class _Bottleneck(nn.Module):
  channels: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    y = constrain(nn.relu(BatchNorm()(_conv(self.channels, 1)(x), train)))
    # The stride is that of the middle convolution, as in all pretrained weights of today, not of the first (the paper).
    y = constrain(nn.relu(BatchNorm()(_conv(self.channels, 3, self.stride)(y), train)))
    y = BatchNorm(scale_init=nn.initializers.zeros)(_conv(4 * self.channels, 1)(y), train)
    if x.shape != y.shape:
      x = BatchNorm()(_conv(4 * self.channels, 1, self.stride)(x), train)
    return constrain(nn.relu(x + y))


class _PreactivationBlock(nn.Module):
  channels: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    y = nn.relu(BatchNorm()(x, train))
    if self.stride > 1 or x.shape[-1] != self.channels:
      x = _conv(self.channels, 1, self.stride)(y)
    y = constrain(nn.relu(BatchNorm()(_conv(self.channels, 3, self.stride)(y), train)))
    return constrain(x + _conv(self.channels, 3)(y))
