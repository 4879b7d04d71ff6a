"""BERT: published size, rows of several sentences, types of tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.nn._table import TABLE, ints, weighted

LENGTHS = (3, 1, 4)


def test_has_the_published_size():
  """MiniLM-L6: 22,713,216 parameters, of which the pooler has 147,840."""
  params, _ = jax.eval_shape(mtl.from_linen(mtl.nn.Bert()).init, jax.random.key(0), ints(1, 4))
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 22_713_216 - 147_840


def test_a_sentence_in_a_row_of_several_is_as_it_is_alone():
  """With nonsense at padding; features at padding are zero."""
  rng = np.random.default_rng(0)
  sentences = [rng.integers(0, 9, length).astype(np.int32) for length in LENGTHS]
  row = np.concatenate([*sentences, [-7, 99]]).astype(np.int32)[None]
  segments = np.repeat([1, 2, 3, 0], [*LENGTHS, 2]).astype(np.int32)[None]
  alone = np.zeros((3, max(LENGTHS)), np.int32)
  mask = np.arange(max(LENGTHS))[None] < np.array(LENGTHS)[:, None]
  alone[mask] = np.concatenate(sentences)
  apply, params, state = weighted(TABLE["bert"].module.clone(pool=None), {"tokens": alone, "mask": mask})
  expected, _ = apply(params, state, {"tokens": alone, "mask": mask})
  found, _ = apply(params, state, {"tokens": row, "segments": segments})
  np.testing.assert_allclose(found["x"][0, :8], expected["x"][mask], rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(found["x"][0, 8:], 0)
  np.testing.assert_array_equal(found["segments"], segments)
  np.testing.assert_array_equal(found["mask"], segments > 0)


def test_rows_may_be_longer_than_a_sentence_may():
  """Positions begin anew in each of them: 12 in a row, at most 10 in a sentence."""
  x = {"tokens": jnp.ones((2, 12), jnp.int32), "segments": jnp.repeat(jnp.array([[1, 2]]), 6, axis=1).repeat(2, axis=0)}
  y, _ = jax.eval_shape(mtl.from_linen(TABLE["bert"].module.clone(pool=None)).init, jax.random.key(0), x)
  assert y["positions"]["embedding"].shape == (10, 8)


def test_types_of_tokens_count():
  tokens = jnp.ones((1, 4), jnp.int32)
  apply, params, state = weighted(TABLE["bert"].module, {"tokens": tokens})
  plain, zeros, pair = (
    apply(params, state, {"tokens": tokens} | extra)[0]
    for extra in ({}, {"types": jnp.zeros((1, 4), jnp.int32)}, {"types": jnp.array([[0, 0, 1, 1]])})
  )
  np.testing.assert_allclose(plain, zeros, rtol=1e-5)
  assert np.abs(pair - plain).max() > 1e-3  # a hundred times what rounding does


def test_types_and_packed_rows_that_are_something_else():
  net, tokens = mtl.from_linen(TABLE["bert"].module), jnp.ones((2, 3), jnp.int32)
  with pytest.raises(mtl.UserError, match=r"types have shape \(3,\), expected that of the tokens, \(2, 3\)"):
    jax.eval_shape(net.init, jax.random.key(0), {"tokens": tokens, "types": tokens[0]})
  with pytest.raises(mtl.UserError, match="Bert: pool is 'mean', and rows are packed: take pool=None, SegmentPool"):
    jax.eval_shape(net.init, jax.random.key(0), {"tokens": tokens, "segments": tokens})
