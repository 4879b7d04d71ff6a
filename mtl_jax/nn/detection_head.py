"""A head that detects objects at each cell of a feature map."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.nn._convolution import Conv, convolved
from mtl_jax.nn._images import check_images


class DetectionHead(nn.Module):
  r"""Two convolutions on a map of features: for each cell logits of classes, and the distances of a box's sides.

  $$ \hat y = C_1(\phi(B(C_3(h)))) $$

  with convolutions of side 3 and 1, batch normalisation and ReLU. It is what `mtl.tasks.detection` takes. The stride of
  the map is that of the trunk: `mtl.nn.ResNet` without its last stage, the mean over positions, keeps a map.

  Attributes:
    num_classes: The number C of classes.
    width: The channels between the convolutions.
    prior: The probability that each cell gives each class before training. A small one keeps the many cells without
      objects from being all that is learned at first (Lin et al., *Focal Loss for Dense Object Detection*, 2017).

  >>> head = DetectionHead(3, width=8)
  >>> y, _ = jax.eval_shape(head.init_with_output, jax.random.key(0), jnp.ones((2, 6, 5, 4)))
  >>> y.shape
  (2, 6, 5, 7)
  """

  num_classes: int
  width: int = 64
  prior: float = 0.01

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Maps features to predictions.

    Args:
      x: Maps (B, h, w, F).
      train: Whether batches are normalised by their own statistics, as in training.

    Returns:
      Predictions (B, h, w, C + 4).
    """
    check_images("DetectionHead", x)
    x = convolved(x, self.width, train)
    logit = math.log(self.prior / (1 - self.prior))

    def bias(key, shape, dtype=jnp.float32):
      return jnp.where(jnp.arange(shape[0]) < self.num_classes, logit, 0.0).astype(dtype)

    return Conv(self.num_classes + 4, (1, 1), kernel_init=nn.initializers.normal(0.01), bias_init=bias)(x)
