"""Encoder and decoder of convolutions, for predictions at every pixel."""

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
from mtl_jax.shard import constrain


class SegNet(nn.Module):
  r"""Stages of convolutions with pooling, then as many that undo the pooling; features of every pixel.

  $$ (h_i, k_i) = pool(f_i(h_{i-1})), \qquad g_{i-1} = f'_i(unpool(g_i, k_i)), \qquad g_n = h_n $$

  f and f' are convolutions of side 3, each with batch normalisation and ReLU. Pooling keeps the largest of 2 x 2 pixels
  and remembers in k which it was; unpooling puts values back there, with zeros around. Computes in the dtype of its
  parameters and input, which must agree; batch statistics are float32. What `mtl.nn.stages` gives are the stages of the
  encoder and those of the decoder; between them is `{"x": (B, h, w, C), "indices": (k, ...)}`.

  Attributes:
    widths: The channels of each stage of the encoder; those of the decoder mirror them. The defaults are VGG-16's.
    depths: The number of convolutions of each stage.

  >>> import jax.numpy as jnp
  >>> trunk = SegNet(widths=(8, 16), depths=(1, 2))
  >>> y, _ = jax.eval_shape(trunk.init_with_output, jax.random.key(0), jnp.ones((2, 12, 8, 3)))
  >>> y.shape
  (2, 12, 8, 8)

  References:
    Badrinarayanan et al., *SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation*, 2017.

  Deviations: the last convolution gives `widths[0]` features, of which heads make classes, as with
  `mtl.nn.MLP((), out=classes, flatten=False)`; convolutions have no bias, since batch normalisation has one.
  """

  widths: Sequence[int] = (64, 128, 256, 512, 512)
  depths: Sequence[int] = (2, 2, 3, 3, 3)

  @property
  def num_stages(self) -> int:
    """Those of the encoder and of the decoder."""
    return 2 * len(self.widths)

  @nn.compact
  def __call__(self, x: Any, train: bool = False, stage: int | None = None) -> Any:
    """Maps images to features of every pixel; with `stage`, through that one alone.

    Args:
      x: Images (B, H, W, C), with sides that 2 to the number of widths divides. With `stage`, what the stage before
        gives.
      train: Whether batches are normalised by their own statistics, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, H, W, widths[0]), or what the stage gives.

    Raises:
      UserError: The input is no such images; not as many `depths` as `widths`.
    """
    count = len(self.widths)
    if stage in (None, 0):
      self._check(x)
      x = {"x": x, "indices": ()}
    for i in chosen(self, stage):
      x = self._encode(i, x, train) if i < count else self._decode(2 * count - 1 - i, x, train)
    return x

  def _check(self, x: jax.Array) -> None:
    check_images("SegNet", x)
    if len(self.depths) != len(self.widths):
      found = f"{len(self.depths)} depths for {len(self.widths)} widths"
      raise UserError(f"SegNet: found {found}, expected the number of convolutions for each width.")
    divisor = 2 ** len(self.widths)
    if x.shape[1] % divisor or x.shape[2] % divisor:
      raise UserError(
        f"SegNet: images of {x.shape[1]} x {x.shape[2]} pixels, expected sides that {divisor} divides, since each of "
        f"{len(self.widths)} stages halves them: pad or resize the images, or take fewer widths."
      )

  def _encode(self, i: int, given: dict[str, Any], train: bool) -> dict[str, Any]:
    x = self._convolve(f"encoder_{i}", given["x"], [self.widths[i]] * self.depths[i], train)
    x, index = _pool(x)
    return {"x": constrain(x), "indices": (*given["indices"], index)}

  def _decode(self, i: int, given: dict[str, Any], train: bool) -> Any:
    *indices, index = given["indices"]
    widths = [self.widths[i]] * (self.depths[i] - 1) + [self.widths[max(i - 1, 0)]]
    x = self._convolve(f"decoder_{i}", constrain(_unpool(given["x"], index)), widths, train)
    return {"x": x, "indices": tuple(indices)} if i else x

  def _convolve(self, name: str, x: jax.Array, widths: Sequence[int], train: bool) -> jax.Array:
    for j, width in enumerate(widths):
      x = convolved(x, width, train, names=(f"{name}_conv_{j}", f"{name}_norm_{j}"))
    return x


def _pool(x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The largest of each 2 x 2 pixels (B, h, w, C), and which of the four it is, the first of equal ones."""
  size, height, width, channels = x.shape
  windows = x.reshape(size, height // 2, 2, width // 2, 2, channels).swapaxes(2, 3)
  windows = windows.reshape(size, height // 2, width // 2, 4, channels)
  index = jnp.argmax(jax.lax.stop_gradient(windows), axis=3).astype(jnp.uint8)
  # The gradient of a maximum would be divided among equal pixels, of which there are many after a ReLU.
  return jnp.where(_chosen(index), windows, 0).sum(axis=3), index


def _unpool(x: jax.Array, index: jax.Array) -> jax.Array:
  """Puts each value where it was among 2 x 2 pixels, with zeros around: (B, h, w, C) to (B, 2 h, 2 w, C)."""
  size, height, width, channels = x.shape
  windows = jnp.where(_chosen(index), x[:, :, :, None], 0).reshape(size, height, width, 2, 2, channels)
  return windows.swapaxes(2, 3).reshape(size, 2 * height, 2 * width, channels)


def _chosen(index: jax.Array) -> jax.Array:
  """Which pixel of four the index (B, h, w, C) means, (B, h, w, 4, C)."""
  return index[:, :, :, None] == jnp.arange(4, dtype=index.dtype).reshape(1, 1, 1, 4, 1)
