"""A head that counts things in a feature map."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.nn._convolution import Conv, convolved
from mtl_jax.nn._images import check_images


class CountHead(nn.Module):
  r"""The logarithm of a density of things over a map, its mean over positions.

  $$ \hat y = \log \frac{1}{hw} \sum_{ij} e^{s_{ij}}, \qquad s = C_1(\phi(B(C_3(h)))) $$

  with convolutions of side 3 and 1, batch normalisation and ReLU. A position adds to the count whatever the others
  hold, so few images teach what many things look like. It is what `mtl.tasks.counts` takes.

  Attributes:
    width: The channels between the convolutions.

  >>> head = CountHead(width=8)
  >>> y, _ = jax.eval_shape(head.init_with_output, jax.random.key(0), jnp.ones((2, 6, 5, 4)))
  >>> y.shape
  (2,)

  References:
    Lempitsky and Zisserman, *Learning to Count Objects in Images*, 2010, for counts as sums of densities.
  """

  width: int = 64

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Maps features to counts.

    Args:
      x: Maps (B, h, w, F).
      train: Whether batches are normalised by their own statistics, as in training.

    Returns:
      (B,).
    """
    check_images("CountHead", x)
    x = convolved(x, self.width, train)
    density = Conv(1, (1, 1), kernel_init=nn.initializers.normal(0.01))(x)
    return jax.nn.logsumexp(density.reshape(x.shape[0], -1), axis=1) - jnp.log(density[0].size).astype(x.dtype)
