"""Arrays brought to a common rank, since the library broadcasts over leading axes and JAX over the last."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def behind(array: Any, ndim: int) -> Any:
  """`array` with axes of size 1 behind its own, `ndim` in all.

  >>> behind(jnp.ones(3), 2).shape
  (3, 1)
  """
  return jnp.reshape(array, (*array.shape, *(1,) * (ndim - array.ndim)))
