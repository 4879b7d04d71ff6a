"""One vector of each sequence of rows that are packed with several."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.nn._padded import kept, packed


class SegmentPool(nn.Module):
  r"""The mean of a row's features over each of its segments, zeros for segments that the row does not have.

  $$ y_{bk} = \frac{\sum_{i : s_{bi} = k} x_{bi}}{\max(1, |\{i : s_{bi} = k\}|)}, \qquad k = 1, \ldots, K $$

  Heads of whole sequences begin with it, where rows of several are packed as by `mtl.data.text.pack`. Labels of the
  sequences are then (B, K), as `mtl.tasks.classification(ignore=-1)` takes them.

  Attributes:
    most: The number K of segments that a row has room for.

  >>> pool = SegmentPool(2)
  >>> given = {"x": jnp.asarray([[[1.0], [3.0], [5.0]]]), "segments": jnp.asarray([[1, 1, 2]])}
  >>> pool.apply({}, given).tolist()
  [[[2.0], [5.0]]]
  """

  most: int

  @nn.compact
  def __call__(self, x: Any) -> jax.Array:
    """Pools features.

    Args:
      x: `{"x": (B, L, D), "segments": (B, L)}`; without segments a row is one segment,
        of the positions of its `"mask"`.

    Returns:
      (B, K, D).

    Raises:
      UserError: The input is no such features.
    """
    features, mask, segments = packed("SegmentPool", x, ("x",))
    if features.ndim != 3:
      raise UserError(f"SegmentPool: the input has shape {features.shape}, expected vectors (B, L, D).")
    own = (segments[:, :, None] == jnp.arange(1, self.most + 1)[None, None]).astype(features.dtype)
    total = jnp.einsum("blk,bld->bkd", own, kept(features, mask))
    return total / jnp.maximum(own.sum(axis=1), 1)[..., None]
