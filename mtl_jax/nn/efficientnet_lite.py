"""EfficientNet-Lite: small convolutional networks for images, for which pretrained weights are to be had."""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax

from mtl_jax.nn._batch_norm import BatchNorm
from mtl_jax.nn._convolution import Conv
from mtl_jax.nn._depthwise import Depthwise
from mtl_jax.nn._images import check_images
from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain

_LITE = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)


class EfficientNetLite(nn.Module):
  r"""A stem, stages of inverted bottlenecks, a last 1 x 1 convolution, and the mean over positions.

  $$ h \leftarrow h + B(P(\phi(B(D(\phi(B(E(h)))))))) $$

  with 1 x 1 convolutions E to more channels and P back, depthwise convolutions D, batch normalisation B and
  $\phi(x) = \min(\max(x, 0), 6)$; the sum only where shapes agree. What `mtl.nn.stages` gives are the stem, the stages
  of blocks, and the rest. Images are padded as TensorFlow's `SAME`, so of odd sizes, too.

  With the defaults it is EfficientNet-Lite0, 3.4 million parameters, whose ImageNet weights are
  `mtl.transfer.efficientnet_lite0`. These expect RGB values as `(value - 127) / 128`, value in [0, 255], and were
  trained on 224 x 224; smaller images do, at a loss.

  Deviations from the paper: no stochastic depth in training; the classifier and its dropout are a head.

  Attributes:
    width: The factor of the channels, rounded to multiples of 8; stem and last convolution keep theirs.
    depth: The factor of the blocks of a stage, rounded up; the first and last stage keep theirs.
    momentum: The share of the running statistics that a step keeps.
    blocks: Of each stage the number of blocks, the side of D, the stride of the first D, the expansion by E (1: there
      is no E), and the channels.
    features: The channels of the last convolution.

  >>> import jax.numpy as jnp
  >>> trunk = EfficientNetLite()
  >>> y, _ = jax.eval_shape(trunk.init_with_output, jax.random.key(0), jnp.ones((2, 64, 64, 3)))
  >>> y.shape
  (2, 1280)

  References:
    Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, 2019.
    Liu, *Higher accuracy on vision models with EfficientNet-Lite*, TensorFlow blog, 2020, for the variant: ReLU6, and
      no squeeze and excitation.
  """

  width: float = 1.0
  depth: float = 1.0
  momentum: float = 0.99
  blocks: Sequence[tuple[int, int, int, int, int]] = _LITE
  features: int = 1280

  @property
  def num_stages(self) -> int:
    """The stem, the stages of blocks, and the rest."""
    return len(self.blocks) + 2

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, stage: int | None = None) -> jax.Array:
    """Maps images to features; with `stage`, through that one alone.

    Args:
      x: Images (B, H, W, 3); with `stage`, what the stage before gives.
      train: Whether batches are normalised by their own statistics, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, features), or what the stage gives.
    """
    if stage in (None, 0):
      check_images("EfficientNetLite", x)
    for i in chosen(self, stage):
      if i == 0:
        x = _Conv(32, 3, 2, momentum=self.momentum, name="stem")(x, train)
      elif i <= len(self.blocks):
        x = self._blocks(i - 1, x, train)
      else:
        x = _Conv(self.features, momentum=self.momentum, name="head")(x, train).mean(axis=(1, 2))
    return x

  def _blocks(self, stage: int, x: jax.Array, train: bool) -> jax.Array:
    count, side, stride, expansion, channels = self.blocks[stage]
    ends = stage in (0, len(self.blocks) - 1)
    for i in range(count if ends else math.ceil(count * self.depth)):
      own, name = stride if i == 0 else 1, f"stage_{stage}_block_{i}"
      x = _Block(_rounded(channels * self.width), side, own, expansion, self.momentum, name=name)(x, train)
    return x


def _rounded(channels: float) -> int:
  """To a multiple of 8, at most a tenth below.

  >>> _rounded(24 * 1.1), _rounded(12)
  (24, 16)
  """
  nearest = max(8, int(channels + 4) // 8 * 8)
  return nearest + 8 if nearest < 0.9 * channels else nearest


class _Conv(nn.Module):
  """Convolution, batch normalisation and, but for the last of a block, ReLU6."""

  channels: int
  side: int = 1
  stride: int = 1
  activate: bool = True
  momentum: float = 0.99

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    sides, strides = (self.side, self.side), (self.stride, self.stride)
    conv = Conv(self.channels, sides, strides, use_bias=False, kernel_init=init, name="Conv_0")
    return _normalized(conv(x), self.momentum, train, self.activate)


class _Block(nn.Module):
  channels: int
  side: int
  stride: int
  expansion: int
  momentum: float

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    y = x
    if self.expansion != 1:
      y = _Conv(self.expansion * x.shape[-1], momentum=self.momentum, name="expand")(y, train)
    y = Depthwise(self.side, self.stride, name="depthwise")(y)
    y = _normalized(y, self.momentum, train, True)
    y = _Conv(self.channels, activate=False, momentum=self.momentum, name="project")(y, train)
    return constrain(x + y) if x.shape == y.shape else constrain(y)


def _normalized(x: jax.Array, momentum: float, train: bool, activate: bool) -> jax.Array:
  """Called inside a module, which gets the batch normalisation as its child."""
  x = BatchNorm(momentum, epsilon=1e-3, name="BatchNorm_0")(x, train)
  return constrain(nn.relu6(x) if activate else x)
