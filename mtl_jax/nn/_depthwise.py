"""Depthwise convolution, each channel by a filter of its own."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp


class Depthwise(nn.Module):
  r"""A convolution of each channel by itself, padded as TensorFlow's `SAME`, without a bias.

  $$ y_{hwc} = \sum_{ij} k_{ijc} x_{sh + i, sw + j, c} $$

  It is written as this sum over the k x k places of the filter: XLA has no fast code for grouped convolutions on CPU,
  where they take 2.5 to 11 times as long with their gradients.

  Attributes:
    side: The side of the filters.
    stride: The stride.
  """

  side: int
  stride: int = 1

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps (B, H, W, C) to (B, ceil(H / stride), ceil(W / stride), C)."""
    init = nn.initializers.variance_scaling(2.0, "fan_out", "normal", in_axis=(), out_axis=(0, 1))
    kernel = self.param("kernel", init, (self.side, self.side, 1, x.shape[-1]))
    (high, rows), (wide, columns) = (_padding(size, self.side, self.stride) for size in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), rows, columns, (0, 0)))
    places = [(i, j) for i in range(self.side) for j in range(self.side)]
    return sum(
      (_every(x, i, j, high, wide, self.stride) * kernel[i, j, 0].reshape(1, 1, 1, -1) for i, j in places[1:]),
      start=_every(x, 0, 0, high, wide, self.stride) * kernel[0, 0, 0].reshape(1, 1, 1, -1),
    )


def _every(x: jax.Array, i: int, j: int, high: int, wide: int, stride: int) -> jax.Array:
  """What the filters see at one of their places."""
  return x[:, i : i + (high - 1) * stride + 1 : stride, j : j + (wide - 1) * stride + 1 : stride]


def _padding(size: int, side: int, stride: int) -> tuple[int, tuple[int, int]]:
  """The size of the output along an axis, and the zeros before and behind the input.

  >>> _padding(7, 3, 2), _padding(8, 3, 2)
  ((4, (1, 1)), (4, (0, 1)))
  """
  out = -(-size // stride)
  zeros = max((out - 1) * stride + side - size, 0)
  return out, (zeros // 2, zeros - zeros // 2)
