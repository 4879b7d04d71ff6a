"""Modules for sequences and graphs: padding counts for nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.nn._table import PADDED, TABLE, inputs, is_float, weighted

SHORT = 4


def shortened(x):
  """The first entries alone, without a mask."""
  size = x["mask"].shape[1]

  def one(leaf):
    return leaf[tuple(slice(SHORT if n == size else None) for n in leaf.shape)]

  return {name: one(leaf) for name, leaf in x.items() if name != "mask"}


def spoiled(x):
  """Nonsense at padding."""
  out = dict(x)
  for name, leaf in x.items():
    if name != "mask":
      there = x["mask"][:, :, None] & x["mask"][:, None] if name == "edges" else x["mask"]
      there = there.reshape(there.shape + (1,) * (leaf.ndim - there.ndim))
      out[name] = jnp.where(there, leaf, jnp.nan if is_float(leaf) else -7)
  return out


@pytest.mark.parametrize("name", PADDED)
def test_padded_is_unpadded(name):
  """With nonsense at padding, of which the gradients of the parameters know nothing either."""
  x = inputs(TABLE[name].x, lengths=(SHORT,) * 3)
  net = mtl.from_linen(TABLE[name].module)
  _, params, _ = weighted(TABLE[name].module, x)

  @jax.jit
  def run(params, x):
    def value(params):
      y, _ = net.apply(params, {}, x)
      return jnp.sum(jax.tree.leaves(y)[-1] ** 2), y

    return jax.value_and_grad(value, has_aux=True)(params)

  (_, padded), gradient = run(params, spoiled(x))
  (_, found), expected = run(params, shortened(x))
  if isinstance(padded, dict):
    part = "nodes" if "nodes" in padded else "x"
    np.testing.assert_array_equal(padded["mask"], x["mask"])
    np.testing.assert_array_equal(padded[part][:, SHORT:], 0)
    padded, found = padded[part][:, :SHORT], found[part]
  np.testing.assert_allclose(padded, found, rtol=1e-4, atol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), gradient, expected)


@pytest.mark.parametrize(
  ("module", "x", "line"),
  [
    ("transformer", {"words": jnp.ones((2, 3), jnp.int32)}, "the entries 'words', expected 'tokens' or 'x', with 'ma"),
    ("temporal conv", {"x": jnp.ones((2, 3, 1)), "mask": jnp.ones((3, 2), bool)}, r"mask has shape \(3, 2\) and the i"),
    ("temporal conv", jnp.ones((2, 3)), r"float32\[2, 3\], expected vectors \(B, L, D\): one value a step is D = 1"),
    ("transformer", jnp.ones((2, 3, 1)), r"float32\[2, 3, 1\], expected tokens \(B, L\): vocabulary=None takes"),
    ("transformer", jnp.ones((2, 11), jnp.int32), "11 positions, expected at most 10: raise max_length, or take posit"),
    ("transformer vectors", jnp.ones((2, 3), jnp.int32), r"int32\[2, 3\], expected vectors \(B, L, D\): for tokens"),
    ("bert", {"words": jnp.ones((2, 3), jnp.int32)}, "the entries 'words', expected 'tokens', with 'mask' for"),
    ("bert", jnp.ones((2, 3)), r"float32\[2, 3\], expected tokens \(B, L\)"),
    ("bert", jnp.ones((2, 11), jnp.int32), "11 positions, expected at most 10: cut it"),
    (
      "bert",
      {"tokens": jnp.ones((2, 3), jnp.int32), "segments": jnp.ones(3, jnp.int32)},
      r"segments are int32\[3\], expected integers \[2, 3\]",
    ),
    ("recurrent", jnp.ones((2, 3, 1)), r"float32\[2, 3, 1\], expected tokens \(B, L\): vocabulary=None takes"),
    ("recurrent", jnp.ones((2, 3), jnp.int32), "no 'characters', expected integers .*: characters=None does without"),
    ("recurrent gru", jnp.ones((2, 3), jnp.int32), r"int32\[2, 3\], expected vectors \(B, L, D\): for tokens"),
    ("graphs", jnp.ones((2, 3)), "the input is .*, expected a mapping of 'nodes', 'edges' and 'mask'"),
    ("graphs", {"edges": jnp.ones((2, 3, 3), jnp.int32)}, "the entries 'edges', expected 'nodes', with 'mask'"),
    (
      "graphs",
      {"nodes": jnp.ones((2, 3, 1)), "edges": jnp.ones((2, 3, 3), jnp.int32)},
      "nodes is .*: atoms=None takes",
    ),
    (
      "graphs",
      {"nodes": jnp.ones((2, 3), jnp.int32), "edges": jnp.ones((2, 4, 4), jnp.int32)},
      r"has shape \(2, 4, 4\)",
    ),
    ("graphs vectors", {"nodes": jnp.ones((2, 3, 1)), "edges": jnp.ones((2, 3, 3))}, "edges is .*kinds, .* bonds="),
  ],
)
def test_inputs_that_are_something_else(module, x, line):
  module = TABLE[module].module
  with pytest.raises(mtl.UserError, match=f"^{type(module).__name__}: .*{line}"):
    jax.eval_shape(module.init, jax.random.key(0), x)


@pytest.mark.parametrize(
  ("name", "option", "line"),
  [
    ("transformer", {"heads": 3}, "width is 8 and heads 3, expected heads to divide it"),
    ("transformer", {"positions": "rotary"}, "positions is 'rotary', expected 'learned', 'sinusoidal' or None"),
    ("transformer", {"pool": "max"}, "pool is 'max', expected 'mean', 'first', or None"),
    ("bert", {"heads": 3}, "width is 8 and heads 3, expected heads to divide it"),
    ("bert", {"pool": "max"}, "pool is 'max', expected 'mean', 'first', or None"),
    ("temporal conv", {"pool": "first"}, "pool is 'first', expected 'mean', 'last', or None"),
    ("recurrent", {"pool": "max"}, "pool is 'max', expected 'mean', 'first', 'last', or None"),
    ("recurrent", {"cell": "rnn"}, "cell is 'rnn', width 8 and kernel 3, expected 'lstm' or 'gru', an even width and"),
    ("recurrent", {"width": 7}, "cell is 'lstm', width 7 and"),
    ("graphs", {"pool": "first"}, "pool is 'first', expected 'sum', 'mean', or None"),
  ],
)
def test_options_that_are_none(name, option, line):
  module = TABLE[name].module.clone(**option)
  with pytest.raises(mtl.UserError, match=line):
    jax.eval_shape(module.init, jax.random.key(0), TABLE[name].x)
