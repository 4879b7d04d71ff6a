"""A head for predictions at every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax

from mtl_jax._core.resized import resized
from mtl_jax.nn._images import check_images
from mtl_jax.shard import constrain


class DenseHead(nn.Module):
  r"""Convolutions, then a linear layer at each pixel, enlarged to the size of the labels.

  $$ \hat y = enlarge(V \phi(C h) + b) $$

  with convolutions C of side 3 and ReLU $\phi$. Predictions are enlarged, bilinearly, and not the features, which are
  more.

  Attributes:
    out: The number of values at each pixel.
    widths: The channels of each convolution before the last layer.
    scale: How much larger than the features, along each side, the predictions are.

  >>> import jax.numpy as jnp
  >>> head = DenseHead(13, widths=(8,), scale=2)
  >>> y, _ = jax.eval_shape(head.init_with_output, jax.random.key(0), jnp.ones((2, 6, 4, 16)))
  >>> y.shape
  (2, 12, 8, 13)
  """

  out: int
  widths: Sequence[int] = (32,)
  scale: int = 1

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps features to predictions.

    Args:
      x: Features (B, H, W, C).

    Returns:
      Predictions (B, scale H, scale W, out).
    """
    check_images("DenseHead", x)
    for i, width in enumerate(self.widths):
      x = constrain(nn.relu(nn.Conv(width, (3, 3), name=f"conv_{i}")(x)))
    x = nn.Dense(self.out, name="out")(x)
    return resized(x, [self.scale * size for size in x.shape[1:3]])
