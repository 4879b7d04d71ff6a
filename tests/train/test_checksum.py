"""Checksums of arrays: any change shows, and nothing else matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.train._checksum import checksums
from tests._launch import found_by


def checksum(x):
  return checksums({"x": x})["x"]


@pytest.mark.parametrize("dtype", ["bool", "int4", "uint8", "bfloat16", "float32", "complex64"])
def test_depends_on_values_and_places(dtype):
  x = jnp.array([[0, 1, 0], [0, 0, 1]]).astype(dtype)
  assert len({checksum(one) for one in (x, x[::-1], x[:, ::-1], x.at[0, 0].set(x[0, 1]))}) == 4
  assert checksum(jnp.copy(x)) == checksum(x) and len(checksum(x)) == 8


def test_each_bit_of_each_word_shows():
  x = np.asarray(jax.random.normal(jax.random.key(0), (7, 3)))
  flipped = np.stack([x.view(np.uint32).ravel()] * (32 * x.size))
  bits = np.arange(32 * x.size)
  flipped[bits, bits // 32] ^= np.uint32(1) << (bits % 32).astype(np.uint32)
  found = checksums({str(i): jnp.asarray(row.view(np.float32).reshape(7, 3)) for i, row in enumerate([*flipped])})
  assert len({*found.values(), checksum(jnp.asarray(x))}) == 32 * x.size + 1


def test_64_bits_and_nothing():
  with jax.enable_x64(True):
    x = jnp.array([1.0, 2.0], jnp.float64)
    assert checksum(x) != checksum(jnp.nextafter(x, jnp.inf * x))
    assert checksum(jax.lax.complex(x, x)) != checksum(jax.lax.complex(x, -x))
  assert checksum(jnp.zeros((0, 3))) == "00000000"


@pytest.mark.slow
def test_the_same_however_the_array_is_divided():
  found = found_by("tests.train._divided")
  assert len(found) == 5 and len(set(found)) == 1
