"""A head that answers a question about an image as a whole, by a feature map."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.nn._convolution import convolved
from mtl_jax.nn._images import check_images


class ImageHead(nn.Module):
  r"""What a map of features holds on average and what it holds anywhere, and dense layers on both.

  $$ \hat y = W_2 \phi(W_1 [mean_{ij} f, max_{ij} f] + b_1) + b_2, \qquad f = \phi(B(C_3(h))) $$

  with a convolution of side 3, batch normalisation and ReLU. The mean tells how much there is of something, the maximum
  whether there is any, which for small things is lost in a mean.

  Attributes:
    out: The number of outputs.
    width: The channels after the convolution, and of the hidden dense layer.

  >>> head = ImageHead(3, width=8)
  >>> y, _ = jax.eval_shape(head.init_with_output, jax.random.key(0), jnp.ones((2, 6, 5, 4)))
  >>> y.shape
  (2, 3)
  """

  out: int
  width: int = 64

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Maps features to answers.

    Args:
      x: Maps (B, h, w, F).
      train: Whether batches are normalised by their own statistics, as in training.

    Returns:
      (B, out).
    """
    check_images("ImageHead", x)
    x = convolved(x, self.width, train)
    x = x.reshape(len(x), -1, self.width)
    # Not x.max: its gradient compares with the maximum, and is NaN where the compiler computes x a second time.
    most = jnp.take_along_axis(x, jnp.argmax(x, axis=1, keepdims=True), axis=1)[:, 0]
    x = jnp.concatenate([x.mean(axis=1), most], axis=1)
    return nn.Dense(self.out)(nn.relu(nn.Dense(self.width)(x)))
