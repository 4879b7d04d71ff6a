"""Checksums of arrays that do not depend on which device holds which part of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


@jax.jit
def checksum(x: jax.Array) -> jax.Array:
  """A 32-bit checksum of the bits of an array and their places, () uint32.

  Each word is mixed with its place, one to one, and the results are added modulo 2^32. The order of the sum does not
  matter, so devices and processes add up their own parts. A change of one word always shows, any other change but for
  one in 2^32.

  >>> x = jnp.array([1.0, 2.0])
  >>> bool(checksum(x) == checksum(x[::-1]))
  False
  """
  words = _words(x)
  place, stride = jnp.uint32(0), 1
  for axis in reversed(range(words.ndim)):
    place += lax.broadcasted_iota(jnp.uint32, words.shape, axis) * jnp.uint32(stride % 2**32)
    stride *= words.shape[axis]
  # The constants are odd, so each line is one to one. They are those of MurmurHash3.
  mixed = words + place * jnp.uint32(0xCC9E2D51)
  mixed = (mixed ^ (mixed >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
  mixed = (mixed ^ (mixed >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
  return jnp.sum(mixed ^ (mixed >> jnp.uint32(16)), dtype=jnp.uint32)


def _words(x: jax.Array) -> jax.Array:
  """The bits of an array as uint32; narrower elements take a word each, wider ones two."""
  if jnp.issubdtype(x.dtype, jnp.complexfloating):
    x = jnp.stack([x.real, x.imag], axis=-1)
  if x.dtype == jnp.bool_:
    return x.astype(jnp.uint32)
  bits = jax.dtypes.itemsize_bits(x.dtype)
  if bits >= 32:
    return lax.bitcast_convert_type(x, jnp.uint32)
  return lax.bitcast_convert_type(x, f"uint{bits}").astype(jnp.uint32)
