"""The leaves of a tree that have gradients, and the others: masks, indices, keys."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def divided(tree: Any) -> tuple[Any, Any]:
  """The tree twice: with its leaves of floating point (or complex) alone, and with all others; None in their places.

  >>> divided({"h": jnp.ones(1), "mask": jnp.array([True])})
  ({'h': Array([1.], dtype=float32), 'mask': None}, {'h': None, 'mask': Array([ True], dtype=bool)})
  """
  leaves, structure = jax.tree.flatten(tree)
  has_gradient = [jnp.issubdtype(jax.typeof(leaf).dtype, jnp.inexact) for leaf in leaves]
  both = list(zip(leaves, has_gradient, strict=True))
  some = [leaf if has else None for leaf, has in both]
  others = [None if has else leaf for leaf, has in both]
  return jax.tree.unflatten(structure, some), jax.tree.unflatten(structure, others)


def joined(some: Any, others: Any) -> Any:
  """The tree that was `divided`."""
  return jax.tree.map(lambda a, b: b if a is None else a, some, others, is_leaf=lambda leaf: leaf is None)
