"""Changes of the pixels of images alone: labels stay."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.data.augment.transform import Change


def colour(brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2) -> Change:
  r"""Random brightness, contrast and saturation, in this order.

  $$ x \leftarrow a x, \qquad x \leftarrow m + b (x - m), \qquad x \leftarrow g + c (x - g) $$

  with m the mean of the image's pixels and channels, and g that of each pixel's channels; a, b and c are drawn from
  U(1 - strength, 1 + strength). Values are cut off at 0 and 1 in the end.

  Args:
    brightness: The strength of a, in [0, 1].
    contrast: The strength of b.
    saturation: The strength of c.

  Returns:
    The change.

  Raises:
    UserError: A strength is out of range.

  Deviations: grey is the plain mean of the channels, so images may have any number of them.
  """
  strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
  for name, strength in strengths.items():
    if not 0 <= strength <= 1:
      raise UserError(f"colour: {name} is {strength}, expected in [0, 1].")

  def pixels(key: jax.Array, images: jax.Array) -> jax.Array:
    strength = jnp.array([[*strengths.values()]], images.dtype)
    drawn = jax.random.uniform(key, (len(images), 3), images.dtype, -1.0, 1.0)
    a, b, c = jnp.unstack((1 + strength * drawn).reshape(-1, 1, 1, 1, 3), axis=-1)
    images = a * images
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    images = mean + b * (images - mean)
    grey = images.mean(axis=3, keepdims=True)
    return jnp.clip(grey + c * (images - grey), 0, 1)

  return Change(pixels=pixels)


def cutout(side: float = 0.25, *, p: float = 0.5, fill: float = 0.5) -> Change:
  """A rectangle of one value, whose centre is anywhere in the image; what reaches beyond the image is cut off.

  Args:
    side: Its sides, as fractions of the image's width and height.
    p: The probability.
    fill: Its value, in [0, 1].

  Returns:
    The change.

  Raises:
    UserError: An option is out of range.

  References:
    DeVries and Taylor, *Improved Regularization of Convolutional Neural Networks with Cutout*, 2017.
  """
  for name, value in (("side", side), ("p", p), ("fill", fill)):
    if not 0 <= value <= 1:
      raise UserError(f"cutout: {name} is {value}, expected in [0, 1].")

  def pixels(key: jax.Array, images: jax.Array) -> jax.Array:
    for_choice, for_place = jax.random.split(key)
    chosen = jax.random.bernoulli(for_choice, p, (len(images), 1, 1))
    centre = jax.random.uniform(for_place, (len(images), 2))

    def near(size: int, at: jax.Array) -> jax.Array:
      return jnp.abs((jnp.arange(size, dtype=at.dtype)[None] + 0.5) / size - at[:, None]) <= side / 2

    down, across = near(images.shape[1], centre[:, 0]), near(images.shape[2], centre[:, 1])
    is_cut = chosen & down[:, :, None] & across[:, None]
    return jnp.where(is_cut[..., None], jnp.array(fill, images.dtype), images)

  return Change(pixels=pixels)
