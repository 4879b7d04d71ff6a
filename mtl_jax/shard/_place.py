"""Arrays brought to where they live, on the devices of one process or of several."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def place(tree: Any, shardings: Any) -> Any:
  """`jax.device_put`, without talking to other processes.

  Args:
    tree: Arrays, the same in every process.
    shardings: One sharding or device for all, or a tree of shardings like `tree`.

  Returns:
    The arrays, of which each process has put its own parts on its own devices.
  """
  leaves = [s for s in jax.tree.leaves(shardings) if isinstance(s, jax.sharding.Sharding)]
  if all(sharding.is_fully_addressable for sharding in leaves):
    return jax.device_put(tree, shardings)
  # device_put would compare the arrays between processes, a collective that may not run beside those of a step.
  if isinstance(shardings, jax.sharding.Sharding):
    return jax.tree.map(lambda leaf: _one(leaf, shardings), tree)
  return jax.tree.map(_one, tree, shardings)


def _one(leaf: Any, sharding: jax.sharding.Sharding) -> jax.Array:
  if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    data = _one(jax.random.key_data(leaf), sharding)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
  value = np.asarray(leaf)
  return jax.make_array_from_callback(value.shape, sharding, value.__getitem__)
