"""Checksums of arrays: any change shows, and nothing else matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.train._checksum import checksum


@pytest.mark.parametrize("dtype", ["bool", "int4", "uint8", "bfloat16", "float32", "complex64"])
def test_depends_on_values_and_places(dtype):
  x = jnp.array([[0, 1, 0], [0, 0, 1]]).astype(dtype)
  found = {int(checksum(one)) for one in (x, x[::-1], x[:, ::-1], x.at[0, 0].set(x[0, 1]))}
  assert len(found) == 4
  assert checksum(x).dtype == jnp.uint32 and int(checksum(jnp.copy(x))) == int(checksum(x))


def test_each_bit_of_each_word_shows():
  x = np.asarray(jax.random.normal(jax.random.key(0), (7, 3)))
  flipped = np.stack([x] * (32 * x.size)).view(np.uint32).reshape(32 * x.size, x.size)
  flipped[np.arange(32 * x.size), np.arange(32 * x.size) // 32] ^= np.uint32(1) << (np.arange(32 * x.size) % 32).astype(
    np.uint32
  )
  sums = jax.vmap(checksum)(jnp.asarray(flipped.view(np.float32).reshape(-1, 7, 3)))
  assert len(set(np.asarray(sums).tolist()) | {int(checksum(x))}) == 32 * x.size + 1


def test_64_bits_and_nothing():
  with jax.enable_x64(True):
    x = jnp.array([1.0, 2.0], jnp.float64)
    assert int(checksum(x)) != int(checksum(jnp.nextafter(x, jnp.inf * x)))
  assert int(checksum(jnp.zeros((0, 3)))) == 0
