"""The trunk of recipes that begin with ImageNet weights, or at random to show what these are worth."""

from __future__ import annotations

import jax

from mtl_jax import nn, transfer
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.net import Net


def trunk(pretrained: bool, size: tuple[int, int]) -> Net:
  """EfficientNet-Lite0 on images of 8 bits, brought to a size: of 11 stages the first two have no parameters.

  Args:
    pretrained: Whether it begins with ImageNet weights (`mtl.transfer.efficientnet_lite0`).
    size: Height and width of the images for the network.

  Returns:
    The trunk, (B, 1280).
  """

  def resized(params, state, x):
    shape = (len(x), *size, x.shape[-1])
    return x if x.shape == shape else jax.image.resize(x, shape, "bilinear"), state

  pixels = from_linen(nn.Pixels(127 / 255, 128 / 255))  # what the weights expect
  network = from_linen(nn.EfficientNetLite())
  if pretrained:
    network = transfer.pretrained(network, transfer.efficientnet_lite0())
  return chain(pixels, Net(lambda key, x: ({}, {}), resized), *network.stages)
