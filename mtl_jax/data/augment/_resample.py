"""Maps seen through windows, brought to the size that they had."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from mtl_jax._core.axes import behind
from mtl_jax.data.augment.transform import Windows


def closest(values: Shaped[Array, "B H W ..."], windows: Windows, outside: float) -> Shaped[Array, "B H W ..."]:
  """Each pixel takes the value of the pixel that it shows, `outside` beyond the map."""
  down, across = _places(windows, *values.shape[1:3])
  for axis, places in ((1, down), (2, across)):
    size = values.shape[axis]
    values = _taken(values, jnp.clip(jnp.floor(places).astype(jnp.int32), 0, size - 1), axis)
  return _kept(values, _inside(down, values.shape[1]), _inside(across, values.shape[2]), outside)


def bilinear(values: Float[Array, "B H W C"], windows: Windows, outside: float) -> Float[Array, "B H W C"]:
  """Each pixel takes the mean of the four values around its place, by distance, and `outside` beyond the map."""
  down, across = _places(windows, *values.shape[1:3])
  for axis, places in ((1, down), (2, across)):
    size = values.shape[axis]
    place = jnp.clip(places - 0.5, 0, size - 1)  # values are at the centres of pixels
    share, first = jnp.modf(place)
    share = share.astype(values.dtype).reshape([len(place), *(size if i == axis else 1 for i in (1, 2, 3))])
    one, other = (_taken(values, first.astype(jnp.int32) + step, axis) for step in (0, 1))  # beyond the last: the last
    values = one + share * (other - one)
  return _kept(values, _inside(down, values.shape[1]), _inside(across, values.shape[2]), outside)


def _places(windows: Windows, height: int, width: int) -> tuple[Float[Array, "B H"], Float[Array, "B W"]]:
  """Where the centre of each row and column is in the map that the windows show, in pixels from its edge."""

  def along(start: jax.Array, end: jax.Array, size: int) -> jax.Array:
    return start[:, None] * size + (end - start)[:, None] * (jnp.arange(size, dtype=start.dtype)[None] + 0.5)

  return along(windows[:, 1], windows[:, 3], height), along(windows[:, 0], windows[:, 2], width)


def _inside(places: Float[Array, "B N"], size: int) -> Bool[Array, "B N"]:
  return (places >= 0) & (places < size)


def _taken(values: jax.Array, index: Int[Array, "B N"], axis: int) -> jax.Array:
  return jax.vmap(lambda own, at: jnp.take(own, at, axis=axis - 1, mode="clip"))(values, index)


def _kept(values: jax.Array, down: jax.Array, across: jax.Array, outside: float) -> jax.Array:
  inside = behind(down[:, :, None] & across[:, None], values.ndim)
  return jnp.where(inside, values, jnp.array(outside, values.dtype))
