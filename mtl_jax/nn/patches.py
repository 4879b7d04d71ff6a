"""`Patches`, images as sequences of vectors, for transformers."""

from __future__ import annotations

import flax.linen as nn
import jax

from mtl_jax._core.errors import UserError
from mtl_jax.nn._images import check_images


class Patches(nn.Module):
  """Cuts images into squares, row by row, a vector of pixels each; without parameters.

  Before a `TransformerEncoder`, whose embedding is linear, it makes a vision transformer.

  Attributes:
    size: The side of a square; it divides the images' sides.

  >>> import jax.numpy as jnp, mtl_jax as mtl
  >>> encoder = mtl.nn.TransformerEncoder(width=16, layers=2, max_length=16)
  >>> trunk = mtl.arch.chain(mtl.from_linen(Patches(8)), *mtl.nn.stages(encoder))
  >>> Patches(8).apply({}, jnp.ones((2, 32, 32, 3))).shape
  (2, 16, 192)

  References:
    Dosovitskiy et al., *An Image Is Worth 16x16 Words: Transformers for Image Recognition at Scale*, ICLR 2021.
  """

  size: int = 8

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Cuts images into patches.

    Args:
      x: Images (B, H, W, C).

    Returns:
      Vectors (B, H W / size^2, size^2 C).

    Raises:
      UserError: The input is no images, or its sides are no multiples of `size`.
    """
    check_images("Patches", x)
    batch, height, width, channels = x.shape
    if height % self.size or width % self.size:
      raise UserError(f"Patches: images of {height} x {width} pixels, expected sides that {self.size} divides.")
    rows, columns = height // self.size, width // self.size
    squares = x.reshape(batch, rows, self.size, columns, self.size, channels).swapaxes(2, 3)
    return squares.reshape(batch, rows * columns, self.size**2 * channels)
