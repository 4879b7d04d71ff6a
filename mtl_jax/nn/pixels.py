"""`Pixels`, images as numbers of about unit size."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.nn._images import check_images


class Pixels(nn.Module):
  r"""Maps images to $(x - \mu) / \sigma$, with x in [0, 1]; first of all in a trunk, without parameters.

  Data and exported models can then have images of 8 bits, a quarter of the memory.

  Attributes:
    mean: $\mu$, one number or one per channel.
    std: $\sigma$, likewise.

  >>> import mtl_jax as mtl
  >>> trunk = mtl.arch.chain(mtl.from_linen(Pixels(0.5, 0.5)), *mtl.nn.stages(mtl.nn.CNN((4,))))
  >>> Pixels(0.5, 0.5).apply({}, jnp.full((1, 2, 2, 1), 255, jnp.uint8)).max()
  Array(1., dtype=float32)
  """

  mean: float | Sequence[float] = 0.0
  std: float | Sequence[float] = 1.0

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalises images.

    Args:
      x: (B, H, W, C), uint8, or floats in [0, 1] such as augmentation gives.

    Returns:
      (B, H, W, C), floats.
    """
    check_images("Pixels", x)
    if jnp.issubdtype(x.dtype, jnp.integer):
      x = x.astype(jnp.float32) / 255
    mean, std = (jnp.broadcast_to(jnp.asarray(given, x.dtype), x.shape) for given in (self.mean, self.std))
    return (x - mean) / std
