"""Changes that move what is seen of an image."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.data.augment.transform import Change, Windows


def flip(p: float = 0.5, *, vertical: bool = False) -> Change:
  """Images from right to left, or upside down.

  Args:
    p: The probability.
    vertical: Upside down.

  Returns:
    The change.

  Raises:
    UserError: `p` is no probability.
  """
  if not 0 <= p <= 1:
    raise UserError(f"flip: p is {p}, expected a probability in [0, 1].")
  order = (0, 3, 2, 1) if vertical else (2, 1, 0, 3)
  whole = (0.0, 0.0, 1.0, 1.0)

  def window(key: jax.Array, count: int) -> Windows:
    chosen = jax.random.bernoulli(key, p, (count, 1))
    return jnp.where(chosen, jnp.array([[whole[i] for i in order]]), jnp.array([whole]))

  return Change(window)


def zoom(least: float = 0.8, most: float = 1.25) -> Change:
  r"""A random crop, brought back to the size of the image: things become s times as large.

  $$ s = least^{1 - u} most^u, \qquad u \sim U(0, 1) $$

  The crop has 1 / s of the image's width and height and lies anywhere within; for s below 1 the whole image lies
  anywhere within the crop, and around it is what each kind of entry has outside.

  Args:
    least: The least s.
    most: The greatest s.

  Returns:
    The change.

  Raises:
    UserError: The bounds are not above 0 and in order.
  """
  if not 0 < least <= most:
    raise UserError(f"zoom: least is {least} and most {most}, expected 0 < least <= most.")

  def window(key: jax.Array, count: int) -> Windows:
    for_scale, for_place = jax.random.split(key)
    share = jax.random.uniform(for_scale, (count, 1))
    side = 1 / (least ** (1 - share) * most**share)
    start = jax.random.uniform(for_place, (count, 2)) * (1 - side)
    return jnp.concatenate([start, start + side], axis=1)

  return Change(window)
