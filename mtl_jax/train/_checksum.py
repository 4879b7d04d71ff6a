"""Checksums of arrays that do not depend on which device holds which part of them."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def checksums(arrays: Mapping[str, jax.Array]) -> dict[str, str]:
  """32-bit checksums of the bits of arrays and their places.

  Each word is mixed with its place, one to one, and the results are added modulo 2^32. A change of one word always
  shows, any other change but for one in 2^32. The order of a sum does not matter, so each device adds up what it holds,
  by a program of its own that needs no other device; then the host adds.

  Several processes call this together, with the same names.

  >>> x = jnp.array([1.0, 2.0])
  >>> found = checksums({"x": x, "again": x + 0, "turned": x[::-1]})
  >>> found["x"] == found["again"], found["x"] == found["turned"]
  (True, False)
  """
  parts = [[_part_of(x, s) for s in x.addressable_shards if s.replica_id == 0] for _, x in sorted(arrays.items())]
  sums = np.array([sum(map(int, each)) % 2**32 for each in jax.device_get(parts)], np.uint32)
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    sums = np.asarray(multihost_utils.process_allgather(sums)).sum(axis=0, dtype=np.uint32)
  return {name: f"{value:08x}" for name, value in zip(sorted(arrays), sums.tolist(), strict=True)}


def _part_of(x: jax.Array, shard: jax.Shard) -> jax.Array:
  sizes = [*x.shape, max(1, x.dtype.itemsize // 4)]  # of words
  strides = [int(np.prod(sizes[axis + 1 :], dtype=object)) for axis in range(len(sizes))]
  first = sum((part.start or 0) * stride for part, stride in zip(shard.index, strides, strict=False))
  return _part(shard.data, np.array([stride % 2**32 for stride in strides], np.uint32), np.uint32(first % 2**32))


@jax.jit
def _part(x: jax.Array, strides: jax.Array, first: jax.Array) -> jax.Array:
  """The sum over a part of an array, whose word at index i is at `first + strides . i` of the whole."""
  words = _words(x)
  place = first
  for axis in range(words.ndim):
    place += lax.broadcasted_iota(jnp.uint32, words.shape, axis) * strides[axis]
  # The constants are odd, so each line is one to one. They are those of MurmurHash3.
  mixed = words + place * jnp.uint32(0xCC9E2D51)
  mixed = (mixed ^ (mixed >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
  mixed = (mixed ^ (mixed >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
  return jnp.sum(mixed ^ (mixed >> jnp.uint32(16)), dtype=jnp.uint32)


def _words(x: jax.Array) -> jax.Array:
  """The bits of an array as uint32, along a last axis; elements of less than 32 bits take a word each."""
  if jnp.issubdtype(x.dtype, jnp.complexfloating):
    return jnp.concatenate([_words(x.real), _words(x.imag)], axis=-1)
  if x.dtype == jnp.bool_:
    return x[..., None].astype(jnp.uint32)
  bits = jax.dtypes.itemsize_bits(x.dtype)
  if bits == 64:
    return lax.bitcast_convert_type(x, jnp.uint32)
  return lax.bitcast_convert_type(x, f"uint{bits}")[..., None].astype(jnp.uint32)
