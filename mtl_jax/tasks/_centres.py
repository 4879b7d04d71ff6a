"""What a map of cells should say of the objects in an image: where their centres are, and which box a cell predicts."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

CENTRAL = 0.54
"""The central part of a box, by side, whose cells predict it: the value of the paper."""


class Targets(NamedTuple):
  """What a map should say.

  Attributes:
    heat: (B, h, w, C), 1 at the cell of an object's centre, falling towards the edge of the central part of its box.
    boxes: (B, h, w, 4), the box that each cell predicts; the smallest where several claim it.
    weights: (B, h, w), how much each cell's box counts, 1 in sum for each object that has cells, else 0.
  """

  heat: jax.Array
  boxes: jax.Array
  weights: jax.Array


def targets(boxes: jax.Array, classes: jax.Array, shape: tuple[int, int], num_classes: int) -> Targets:
  r"""Gaussians as wide and as high as the boxes, by which both classes and boxes are learned.

  $$ g(x, y) = \exp(-\frac{(x - x_c)^2}{2 \sigma_x^2} - \frac{(y - y_c)^2}{2 \sigma_y^2}) \text{ for } |x - x_c| \le
  r_x, |y - y_c| \le r_y, \qquad r = \lfloor 0.54 s / 2 \rfloor, \quad \sigma = (2 r + 1) / 6 $$

  in cells, with the centre's cell $(x_c, y_c)$ and the size s of the box.

  Args:
    boxes: (B, K, 4), fractions of width and height.
    classes: (B, K), -1 for padding.
    shape: (h, w).
    num_classes: C.

  Returns:
    The targets.

  References:
    Liu et al., *Training-Time-Friendly Network for Real-Time Object Detection*, AAAI 2020.
  """
  cells = jnp.array([[shape[::-1]]], boxes.dtype)
  low, high = boxes[..., :2] * cells, boxes[..., 2:] * cells
  centre = jnp.clip(jnp.floor((low + high) / 2), 0, cells - 1)
  reach = jnp.floor(CENTRAL * (high - low) / 2)

  def along(axis):  # (B, K, n)
    far = jnp.arange(shape[1 - axis], dtype=boxes.dtype)[None, None] - centre[..., axis, None]
    sigma = (2 * reach[..., axis, None] + 1) / 6
    return jnp.where(jnp.abs(far) <= reach[..., axis, None], jnp.exp(-jnp.square(far / sigma) / 2), 0)

  gaussians = along(1)[..., :, None] * along(0)[..., None, :]  # (B, K, h, w)
  gaussians = jnp.where((classes >= 0)[..., None, None], gaussians, 0)
  of_class = jax.nn.one_hot(classes, num_classes, dtype=boxes.dtype)[:, :, None, None]
  area = jnp.where(gaussians > 0, jnp.prod(high - low, axis=-1)[..., None, None], jnp.inf)
  owner = jnp.argmin(area, axis=1)[:, None] == jnp.arange(boxes.shape[1])[None, :, None, None]
  owned = jnp.where(owner, gaussians, 0)  # (B, K, h, w)
  total = jnp.sum(owned, axis=(2, 3), keepdims=True)
  return Targets(
    heat=jnp.max(gaussians[..., None] * of_class, axis=1, initial=0),
    boxes=jnp.einsum("bkhw,bkc->bhwc", owner.astype(boxes.dtype), boxes),
    weights=jnp.sum(owned / jnp.where(total > 0, total, 1), axis=1),
  )


def boxes_of(distances: jax.Array) -> jax.Array:
  r"""Boxes (B, h, w, 4) in fractions, of the logarithms of the distances of their sides from the cells' centres.

  Distances are to the left, up, right and down, in cells. They are bounded by $e^8$, so that none is infinite.
  """
  high, wide = distances.shape[1:3]
  distances = jnp.exp(jnp.minimum(distances, 8.0))
  x = (jnp.arange(wide, dtype=distances.dtype) + 0.5)[None, None, :]
  y = (jnp.arange(high, dtype=distances.dtype) + 0.5)[None, :, None]
  left, up, right, down = (distances[..., i] for i in range(4))
  return jnp.stack([(x - left) / wide, (y - up) / high, (x + right) / wide, (y + down) / high], axis=-1)
