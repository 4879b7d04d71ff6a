"""The leaves of a tree that have gradients, and the others: masks, indices, keys."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.partition import partition


def divided(tree: Any) -> tuple[Any, Any]:
  """The tree twice: with its leaves of floating point (or complex) alone, and with all others; None in their places.

  >>> divided({"h": jnp.ones(1), "mask": jnp.array([True])})
  ({'h': Array([1.], dtype=float32), 'mask': None}, {'h': None, 'mask': Array([ True], dtype=bool)})
  """
  return partition(tree, lambda path, leaf: jnp.issubdtype(jax.typeof(leaf).dtype, jnp.inexact))
