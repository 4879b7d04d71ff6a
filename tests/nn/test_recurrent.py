"""The recurrent encoder and heads of words: against the cells of Flax, words by characters, arcs within sentences."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.nn._table import TABLE, filled, floats, inputs

SEGMENTS = jnp.asarray([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 2, 2]], jnp.int32)


def of_flax(own, width, cell):
  """The parameters of a cell of Flax from those of one direction, both with gates side by side."""
  (inner, bias), state = own
  names = "ifog" if cell == "lstm" else "rzn"
  given, biases, states = (np.split(a, len(names), axis=-1) for a in (inner, bias, state))
  params = {f"i{n}": {"kernel": k} for n, k in zip(names, given, strict=True)}
  params |= {f"h{n}": {"kernel": k} for n, k in zip(names, states, strict=True)}
  for n, b in zip(names, biases, strict=True):
    if cell == "lstm":
      params[f"h{n}"]["bias"] = b + float(n == "f")  # a state is kept at first
    else:
      params[f"i{n}"]["bias"] = b
  if cell == "gru":
    params["hn"]["bias"] = jnp.zeros(width)
  return params


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_layer_is_that_of_flax(cell):
  width, x = 4, inputs((2, 6, 3))
  module = mtl.nn.RecurrentEncoder(width=2 * width, cell=cell, pool=None)
  net = mtl.from_linen(module)
  params, state = filled(net, x)
  layer, gates = params["layer_0"], {"lstm": 4, "gru": 3}[cell] * width
  kernel, bias = layer["input"]["kernel"], layer["input"]["bias"]
  expected = []
  for i, reverse in enumerate((False, True)):
    part = slice(i * gates, (i + 1) * gates)
    own = of_flax(((kernel[:, part], bias[part]), layer["state"][i]), width, cell)
    rnn = nn.RNN({"lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell](width), reverse=reverse, keep_order=True)
    expected.append(rnn.apply({"params": {"cell": own}}, x))
  found, _ = net.apply(params, state, x)
  np.testing.assert_allclose(found["x"], jnp.concatenate(expected, axis=-1), rtol=1e-4, atol=1e-5)


def test_state_begins_orthogonal():
  module, x = TABLE["recurrent"].module, inputs(TABLE["recurrent"].x)
  params, _ = mtl.from_linen(module).init(jax.random.key(0), x)
  for gate in jnp.split(params["layer_1"]["state"], 4, axis=-1):
    np.testing.assert_allclose(jnp.einsum("dij,dik->djk", gate, gate), np.stack([np.eye(4)] * 2), atol=1e-5)


def test_characters_tell_words_apart_wherever_they_stand():
  module = mtl.nn.RecurrentEncoder(vocabulary=3, characters=9, embedding=2, filters=4, width=4, pool=None)
  first = mtl.nn.stages(module)[0]
  spelled = jnp.asarray([[[3, 4, 5, 0, 0], [5, 4, 3, 0, 0], [3, 4, 5, 0, 0], [0, 0, 0, 0, 0]]], jnp.int32)
  x = {"tokens": jnp.ones((1, 4), jnp.int32), "characters": spelled}
  params, _ = first.init(jax.random.key(0), x)
  found = first.apply(params, {}, x)[0]["x"][0, :, 2:]
  np.testing.assert_array_equal(found[0], found[2])
  assert (found[0] != found[1]).any() and not found[3].any()
  more = first.apply(params, {}, {**x, "characters": jnp.pad(spelled, ((0, 0), (0, 0), (0, 3)))})[0]["x"][0, :, 2:]
  np.testing.assert_array_equal(found, more)
  # By hand: the maximum of three places side by side.
  table, dense = params["characters"]["embedding"], params["spelling"]
  word = jnp.pad(table[jnp.array([3, 4, 5])], ((1, 1), (0, 0)))
  windows = jnp.stack([word[i : i + 3].reshape(-1) for i in range(3)])
  expected = jnp.maximum(windows @ dense["kernel"] + dense["bias"][None], 0).max(axis=0)
  np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6)


def test_token_head_is_dense_layers_at_each_position():
  x = {"x": inputs((2, 6, 3)), "segments": SEGMENTS}
  net = mtl.from_linen(mtl.nn.TokenHead(4, (5,)))
  params, state = filled(net, x)
  hidden = nn.relu(nn.Dense(5).apply({"params": params["Dense_0"]}, x["x"]))
  expected = nn.Dense(4).apply({"params": params["Dense_1"]}, hidden)
  found, _ = net.apply(params, state, x)
  there = np.asarray(SEGMENTS > 0)
  np.testing.assert_allclose(found[there], expected[there], rtol=1e-5, atol=1e-6)
  assert (found[~there] == jnp.finfo(jnp.float32).min).all()


def test_biaffine_head_is_the_formula():
  x = {"x": inputs((2, 6, 3)), "segments": SEGMENTS}
  net = mtl.from_linen(mtl.nn.BiaffineHead(4, width=5, relation_width=2))
  params, state = filled(net, x)
  found, _ = net.apply(params, state, x)
  words = np.where(np.asarray(SEGMENTS > 0)[..., None], np.asarray(x["x"], float), 0)
  heads = np.concatenate([np.broadcast_to(np.asarray(params["root"]), (2, 1, 3)), words], axis=1)

  def dense(name, given, last=False):
    y = np.asarray(given @ np.asarray(params[name]["kernel"], float) + np.asarray(params[name]["bias"]))
    return y if last else np.maximum(y, 0)

  arc = np.einsum("bid,bjd->bij", dense("arc", dense("arc_dependent", words), True), dense("arc_head", heads))
  segments = np.asarray(SEGMENTS)
  for b, i, j in np.ndindex(2, 6, 7):
    same = j == 0 or (segments[b, i] == segments[b, j - 1] and i != j - 1)
    if segments[b, i] and same:
      assert found["arc"][b, i, j] == pytest.approx(arc[b, i, j], rel=1e-4, abs=1e-5)
    else:
      assert found["arc"][b, i, j] == jnp.finfo(jnp.float32).min
  scores = np.einsum("blrd,bjd->bljr", found["dependent"], found["head"])
  inner = dense("relation", dense("relation_dependent", words), True).reshape(2, 6, 4, 3)
  ones = np.concatenate([dense("relation_head", heads), np.ones((2, 7, 1))], axis=-1)
  np.testing.assert_allclose(scores, np.einsum("bird,bjd->bijr", inner, ones), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", [mtl.nn.TokenHead(4, (5,)), mtl.nn.BiaffineHead(4, width=5, relation_width=2)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_heads_of_padded_rows(head, dtype):
  """Nonsense at padding reaches no output and no gradient; dtypes follow."""
  net = mtl.from_linen(head)
  full = {"x": inputs((2, 6, 3)), "segments": SEGMENTS}
  x = {**full, "x": full["x"].astype(dtype)}
  params, _ = filled(net, full)
  params = jax.tree.map(lambda a: a.astype(dtype), params)
  dirty = {**x, "x": jnp.where((SEGMENTS > 0)[..., None], x["x"], jnp.nan)}

  def total(params, x):
    y, _ = net.apply(params, {}, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(y)} == {jnp.dtype(dtype)}
    scores = y["arc"] if isinstance(y, dict) else y
    return jnp.sum(jnp.where(scores > -1e30, scores, 0).astype(jnp.float32))

  clean, spoiled = (jax.value_and_grad(total)(params, one) for one in (x, dirty))
  jax.tree.map(np.testing.assert_array_equal, clean, spoiled)


@pytest.mark.parametrize("head", [mtl.nn.TokenHead(4), mtl.nn.BiaffineHead(4)])
def test_features_that_are_none_of_positions(head):
  with pytest.raises(
    mtl.UserError, match=rf"{type(head).__name__}: the input has shape \(2, 6\), expected vectors \(B"
  ):
    jax.eval_shape(head.init, jax.random.key(0), {"x": floats(2, 6)})
