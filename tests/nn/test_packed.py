"""Rows that are packed with several sequences: each has the features that it has alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import UserError
from mtl_jax.nn._padded import places

SEGMENTS = jnp.asarray([[1, 1, 1, 2, 2, 0, 0], [1, 2, 2, 2, 2, 3, 0]], jnp.int32)
TOKENS = jax.random.randint(jax.random.key(0), SEGMENTS.shape, 1, 9).astype(jnp.int32)
ENCODER = mtl.nn.TransformerEncoder(vocabulary=9, width=8, layers=2, heads=2, max_length=10, pool=None)
PACKED = {"tokens": TOKENS, "segments": SEGMENTS}
"""Modules for packed rows."""
MODULES = {
  "learned": ENCODER,
  "sinusoidal": ENCODER.clone(positions="sinusoidal"),
  "none": ENCODER.clone(positions=None),
  "lstm": mtl.nn.RecurrentEncoder(vocabulary=9, width=8, layers=2, embedding=6, pool=None),
  "gru": mtl.nn.RecurrentEncoder(vocabulary=9, width=8, layers=2, embedding=6, pool=None, cell="gru"),
}


def apart(net, params):
  """The features of each sequence by itself, `[[(n, D), ...] for each row]`."""

  def one(row, k):
    there = np.asarray(SEGMENTS[row] == k)
    return net.apply(params, {}, {"tokens": TOKENS[row][there][None]})[0]["x"][0]

  return [[one(row, k + 1) for k in range(int(SEGMENTS[row].max()))] for row in range(len(SEGMENTS))]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_packed_is_apart(name):
  net = mtl.from_linen(MODULES[name])
  params, _ = net.init(jax.random.key(1), PACKED)
  found, _ = net.apply(params, {}, PACKED)
  np.testing.assert_array_equal(found["segments"], SEGMENTS)
  np.testing.assert_array_equal(found["mask"], SEGMENTS > 0)
  for row, own in enumerate(apart(net, params)):
    np.testing.assert_allclose(found["x"][row, : sum(map(len, own))], jnp.concatenate(own), rtol=1e-4, atol=1e-5)
    assert not found["x"][row, sum(map(len, own)) :].any()


@pytest.mark.slow
def test_pools():
  net = mtl.from_linen(ENCODER)
  params, _ = net.init(jax.random.key(1), PACKED)
  features, _ = net.apply(params, {}, PACKED)
  pooled = mtl.nn.SegmentPool(3).apply({}, features)
  assert pooled.shape == (2, 3, 8)
  for row, own in enumerate(apart(net, params)):
    for k, one in enumerate(own):
      np.testing.assert_allclose(pooled[row, k], one.mean(axis=0), rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(pooled[0, 2], 0)
  one, _ = net.apply(params, {}, {"tokens": TOKENS, "mask": SEGMENTS > 0})
  whole = mtl.nn.SegmentPool(1).apply({}, one)[:, 0]
  expected, _ = mtl.from_linen(ENCODER.clone(pool="mean")).apply(params, {}, {"tokens": TOKENS, "mask": SEGMENTS > 0})
  np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)


def test_places_in_segments():
  np.testing.assert_array_equal(places(SEGMENTS), [[0, 1, 2, 0, 1, 0, 1], [0, 0, 1, 2, 3, 0, 0]])


def test_what_is_no_packed_row():
  with pytest.raises(UserError, match=r"the segments are float32\[2, 7\], expected integers \[2, 7\]"):
    ENCODER.init(jax.random.key(0), {"tokens": TOKENS, "segments": SEGMENTS.astype(jnp.float32)})
  for name in ("learned", "lstm"):
    with pytest.raises(UserError, match="take pool=None, SegmentPool"):
      MODULES[name].clone(pool="mean").init(jax.random.key(0), PACKED)
  with pytest.raises(UserError, match=r"the input has shape \(2, 7\), expected vectors"):
    mtl.nn.SegmentPool(2).apply({}, {"x": TOKENS, "segments": SEGMENTS})
  net = mtl.arch.prompt(mtl.from_linen(ENCODER), {"a": mtl.from_linen(mtl.nn.TokenHead(2))})
  with pytest.raises(UserError, match="prompt: rows are packed with several sequences, expected one per row"):
    jax.eval_shape(net.init, jax.random.key(0), PACKED)
