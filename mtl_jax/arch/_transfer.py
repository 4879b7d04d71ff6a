"""What one task's tower takes over from another's, by attention."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax.arch._experts import mean_load
from mtl_jax.arch._parts import dense, is_float, linear
from mtl_jax.arch._streams import of_floats


def transfer(key: jax.Array, q: Any) -> Any:
  """The parameters of one transfer, for towers that give features like `q`."""

  def make(key, width):
    key, info_key = jax.random.split(key)
    kernels = dense(key, width, width, 3)["kernel"]
    return {"info": dense(info_key, width, width), **dict(zip(("value", "key", "query"), kernels, strict=True))}

  return of_floats("aitm", make, key, q)


def transferred(params: Any, before: Any, q: Any) -> tuple[Any, jax.Array]:
  """What a task's tower gives after the transfer from the task before, and the mean weight of that, a scalar."""
  leaves, structure = jax.tree.flatten(q)
  weights = []

  def one(own, z, q):
    if not is_float(q):
      return q
    both = jnp.stack([jax.nn.relu(linear(own["info"], z)), q], axis=-2)
    match = jnp.sum((both @ own["key"]) * (both @ own["query"]), axis=-1) / q.shape[-1] ** 0.5
    w = jax.nn.softmax(match)
    weights.append(mean_load(w.reshape(-1, 2))[0])
    return jnp.sum(w[..., None] * (both @ own["value"]), axis=-2)

  found = map(one, structure.flatten_up_to(params), jax.tree.leaves(before), leaves)
  return structure.unflatten(found), sum(weights[1:], weights[0]) / len(weights)
