"""Task gradients under data parallelism: each device sums up and keeps one part of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from mtl_jax._core import devices


def scattered(tree: Any, skip: int = 0) -> Any:
  """The sum over devices, of which each holds a part: a slice of each array along its largest dimension that divides.

  A reduce-scatter sends half of what an all-reduce does, and memory and later work are divided too. Sums over the
  parts of all devices are sums over everything: an array that cannot be divided is on the first device, zeros elsewhere
  (or, where the compiler divides the program, whole). Without several devices, the tree as it is.

  Args:
    tree: Arrays, for example the gradients of all tasks.
    skip: How many leading dimensions stay whole.
  """
  if devices.is_local():
    return jax.tree.map(lambda leaf: _sum_own_part(leaf, skip), tree)
  return jax.tree.map(lambda leaf: _place(leaf, skip), tree) if devices.shards() > 1 else tree


def gathered(parts: Any, whole: Any, skip: int = 0) -> Any:
  """What `scattered` divided, whole again on each device; where the compiler divides the program, that is its task.

  Args:
    parts: From `scattered`.
    whole: Their shapes when whole, without the leading dimensions.
    skip: How many leading dimensions there are.
  """
  if not devices.is_local():
    return parts
  return jax.tree.map(
    lambda part, like: _gather(part, devices.largest_dimension(like.shape, devices.count()), skip), parts, whole
  )


def _place(leaf: jax.Array, skip: int) -> jax.Array:
  dimension = devices.largest_dimension(leaf.shape[skip:], devices.shards())
  if dimension is None:
    return leaf
  spec: list[Any] = [None] * skip + [P.UNCONSTRAINED] * (leaf.ndim - skip)
  spec[skip + dimension] = devices.DATA
  return jax.lax.with_sharding_constraint(leaf, P(*spec))


def _sum_own_part(leaf: jax.Array, skip: int) -> jax.Array:
  dimension = devices.largest_dimension(leaf.shape[skip:], devices.count())
  if dimension is None:
    return jnp.where(jax.lax.axis_index(devices.DATA) == 0, jax.lax.psum(leaf, devices.DATA), 0)
  # As a matrix, its rows divided: of most other shapes TPUs' compiler makes an all-reduce, which sends twice as much.
  front = jnp.moveaxis(leaf, skip + dimension, 0)
  matrix = front.reshape(front.shape[0], -1)
  part = jax.lax.psum_scatter(matrix, devices.DATA, scatter_dimension=0, tiled=True)
  return jnp.moveaxis(part.reshape(-1, *front.shape[1:]), 0, skip + dimension)


def _gather(part: jax.Array, dimension: int | None, skip: int) -> jax.Array:
  if dimension is None:
    return jax.lax.psum(part, devices.DATA)
  return jax.lax.all_gather(part, devices.DATA, axis=skip + dimension, tiled=True, to="invarying")
