"""Maps of another size, by linear interpolation: products with matrices that are known before anything runs.

What `jax.image.resize` does, as operations that formats of exported models know for any number of examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def resized(x: jax.Array, sizes: Sequence[int], antialias: bool = True) -> jax.Array:
  """Maps with other sizes.

  Args:
    x: Maps (B, ..., C).
    sizes: The new sizes of the axes between examples and channels.
    antialias: Whether an axis that shrinks is smoothed.

  Returns:
    Maps (B, *sizes, C).

  >>> resized(jnp.arange(4.0).reshape(1, 4, 1), [2]).ravel().tolist(), resized(jnp.ones((1, 2, 1)), [4]).shape
  ([0.71428573, 2.2857141], (1, 4, 1))
  """
  axes = [axis for axis, size in enumerate(sizes, 1) if x.shape[axis] != size]
  if not axes:
    return x
  words, out = [], list(range(x.ndim))
  for axis in axes:
    words += [_weights(x.shape[axis], sizes[axis - 1], antialias).astype(x.dtype), [axis, x.ndim + axis]]
    out[axis] = x.ndim + axis
  return jnp.einsum(x, list(range(x.ndim)), *words, out, precision="highest")


def _weights(given: int, wanted: int, antialias: bool) -> np.ndarray:
  """How much of each place goes to each new one, (given, wanted); what of a triangle lies outside is left out."""
  step = given / wanted
  places = (np.arange(wanted) + 0.5) * step - 0.5
  far = np.abs(places[None] - np.arange(given)[:, None]) / (max(step, 1.0) if antialias else 1.0)
  weights = np.maximum(1 - far, 0)
  return (weights / weights.sum(axis=0)).astype(np.float32)
