"""The trunk of recipes that begin with ImageNet weights, or at random to show what these are worth."""

from __future__ import annotations

from mtl_jax import nn, transfer
from mtl_jax._core.resized import resized
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.net import Net


def trunk(pretrained: bool, size: tuple[int, int], tuned: int = 0, stages: int = 9) -> Net:
  """EfficientNet-Lite0 on images of 8 bits, brought to a size.

  Of the trunk's stages the first two have no parameters; then come those of the network, a stem, seven stages of blocks
  and the last convolution with the mean over positions.

  Args:
    pretrained: Whether it begins with ImageNet weights (`mtl.transfer.efficientnet_lite0`), or at random and is then
      trained as a whole.
    size: Height and width of the images for the network.
    tuned: How many of the last stages of a pretrained network are trained; the others stay, as do batch statistics.
    stages: How many stages of the network there are; fewer than nine give maps.

  Returns:
    The trunk, (B, 1280), or maps.
  """

  def in_size(params, state, x):
    return resized(x, size), state

  pixels = from_linen(nn.Pixels(127 / 255, 128 / 255))  # what the weights expect
  network = from_linen(nn.EfficientNetLite())
  used = network.stages[:stages]
  if pretrained:
    used = transfer.pretrained(network, transfer.efficientnet_lite0()).stages[:stages]
    kept = stages - tuned
    used = (*map(transfer.fixed, used[:kept]), *map(transfer.in_inference, used[kept:]))
  return chain(pixels, Net(lambda key, x: ({}, {}), in_size), *used)
