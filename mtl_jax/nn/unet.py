"""U-Net: encoder and decoder of convolutions, which are joined at every resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.nn._convolution import convolved
from mtl_jax.nn._images import check_images
from mtl_jax.nn._stages import chosen


class UNet(nn.Module):
  r"""Stages of convolutions at falling resolution, then back up, where each also reads the one of its resolution.

  $$ h_i = f_i(pool(h_{i-1})), \qquad g_i = f'_i([h_i, up(g_{i+1})]), \qquad g_n = h_n $$

  f and f' are two convolutions of side 3, each with batch normalisation and ReLU; `pool` takes the largest of 2 x 2
  pixels, and `up` is a transposed convolution of 2 x 2. Computes in the dtype of its parameters and input, which must
  agree; batch statistics are float32. What `mtl.nn.stages` gives are the stages of the encoder and those of the
  decoder; between them is `{"x": (B, h, w, C), "skips": ((B, 2 h, 2 w, C'), ...)}`.

  Attributes:
    widths: The channels of each resolution.
    stride: That of the first convolution; features are those of a map as much smaller, which costs less time by its
      square. `mtl.nn.DenseHead` can bring predictions back to the images' size.

  >>> import jax.numpy as jnp
  >>> y, _ = jax.eval_shape(UNet((8, 16)).init_with_output, jax.random.key(0), jnp.ones((2, 12, 8, 3)))
  >>> y.shape
  (2, 12, 8, 8)

  References:
    Ronneberger, Fischer, Brox, *U-Net: Convolutional Networks for Biomedical Image Segmentation*, 2015.

  Deviations: convolutions keep the size of their maps, and have batch normalisation.
  """

  widths: Sequence[int] = (64, 128, 256, 512, 1024)
  stride: int = 1

  @property
  def num_stages(self) -> int:
    """Those of the encoder and of the decoder."""
    return 2 * len(self.widths) - 1

  @nn.compact
  def __call__(self, x: Any, train: bool = False, stage: int | None = None) -> Any:
    """Maps images to features of every pixel; with `stage`, through that one alone.

    Args:
      x: Images (B, H, W, C), whose sides the stride, times 2 for each width after the first, divides. With `stage`,
        what the stage before gives.
      train: Whether batches are normalised by their own statistics, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, H / stride, W / stride, widths[0]), or what the stage gives.

    Raises:
      UserError: The input is no such images.
    """
    count = len(self.widths)
    if stage in (None, 0):
      self._check(x)
      x = {"x": x, "skips": ()}
    for i in chosen(self, stage):
      x = self._encode(i, x, train) if i < count else self._decode(2 * count - 2 - i, x, train)
    return x["x"] if isinstance(x, dict) and count == 1 else x

  def _check(self, x: jax.Array) -> None:
    check_images("UNet", x)
    divisor = self.stride * 2 ** (len(self.widths) - 1)
    if x.shape[1] % divisor or x.shape[2] % divisor:
      raise UserError(
        f"UNet: images of {x.shape[1]} x {x.shape[2]} pixels, expected sides that {divisor} divides: pad or resize the "
        "images, or take fewer widths."
      )

  def _encode(self, i: int, given: dict[str, Any], train: bool) -> dict[str, Any]:
    x, skips = given["x"], given["skips"]
    if i:
      x, skips = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2)), (*skips, x)
    return {"x": self._convolve(f"encoder_{i}", x, self.widths[i], 1 if i else self.stride, train), "skips": skips}

  def _decode(self, i: int, given: dict[str, Any], train: bool) -> Any:
    *skips, skip = given["skips"]
    up = nn.ConvTranspose(self.widths[i], (2, 2), (2, 2), name=f"decoder_{i}_up")(given["x"])
    x = self._convolve(f"decoder_{i}", jnp.concatenate([skip, up], axis=-1), self.widths[i], 1, train)
    return {"x": x, "skips": tuple(skips)} if i else x

  def _convolve(self, name: str, x: jax.Array, width: int, stride: int, train: bool) -> jax.Array:
    for j in range(2):
      x = convolved(x, width, train, 1 if j else stride, (f"{name}_conv_{j}", f"{name}_norm_{j}"))
    return x
