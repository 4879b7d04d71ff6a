"""The layer of which decoders and heads of images are made."""

from __future__ import annotations

import flax.linen as nn
import jax

from mtl_jax.nn._batch_norm import BatchNorm
from mtl_jax.shard import constrain


def convolved(
  x: jax.Array, width: int, train: bool, stride: int = 1, names: tuple[str | None, str | None] = (None, None)
) -> jax.Array:
  """A 3 x 3 convolution, batch normalisation and ReLU; called inside a module, whose children the first two become.

  Args:
    x: Maps (B, H, W, C).
    width: The channels of the convolution.
    train: As in the module.
    stride: That of the convolution.
    names: Those of convolution and normalisation; None: by their kinds and numbers, as Linen does.

  Returns:
    Maps of this width.
  """
  init = nn.initializers.he_normal()
  x = nn.Conv(width, (3, 3), (stride, stride), use_bias=False, kernel_init=init, name=names[0])(x)
  return constrain(nn.relu(BatchNorm(name=names[1])(x, train)))
