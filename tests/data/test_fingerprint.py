"""Fingerprints of data sets: every value counts, how it lies in memory does not."""

import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.data import fingerprint

X = np.arange(24, dtype=np.float32).reshape(6, 4)
DATA = {"x": {"a": X, "b": X[:, 0] > 3}, "y": np.arange(6)}


def test_how_the_values_lie_does_not_matter():
  twice = np.repeat(X, 2, axis=1)
  others = [
    {"y": list(range(6)), "x": DATA["x"]},
    DATA | {"x": {"b": X[:, 0] > 3, "a": np.asfortranarray(X)}},
    DATA | {"x": DATA["x"] | {"a": twice[:, ::2]}},
  ]
  assert [fingerprint(other) for other in others] == [fingerprint(DATA)] * 3
  assert fingerprint(DATA).examples == 6


@pytest.mark.parametrize(
  "change",
  [
    {"y": np.array([0, 1, 2, 3, 5, 4])},
    {"y": np.arange(6).astype(np.int32)},
    {"z": np.arange(6)},
    {"x": {"a": X.reshape(6, 2, 2), "b": X[:, 0] > 3}},
    {"x": {"b": X, "a": X[:, 0] > 3}},
    {"y": np.arange(6).astype(jnp.bfloat16)},
  ],
)
def test_every_change_shows(change):
  assert fingerprint(DATA | change).contents != fingerprint(DATA).contents


def test_pieces_of_large_arrays(monkeypatch):
  expected = fingerprint(DATA)
  monkeypatch.setitem(fingerprint.__globals__, "_AT_ONCE", 20)
  assert fingerprint(DATA) == expected
