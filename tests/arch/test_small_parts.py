"""Small parts per task between the stages of one trunk: film, adapters, prompt."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.nn._batch_norm import BatchNorm

HEADS = {"a": mtl.from_linen(nn.Dense(2)), "b": mtl.from_linen(nn.Dense(1))}
SAME = {"a": mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (x, state))}


def stateless(function):
  return mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (function(x), state))


def dense(width, **options):
  return mtl.from_linen(nn.Dense(width, **options))


def filled(net, x, seed=0):
  """Random parameters, and the state."""
  rng = np.random.default_rng(seed)
  params, state = jax.eval_shape(net.init, jax.random.key(0), x)
  return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), params), jax.tree.map(
    lambda leaf: jnp.ones(leaf.shape, leaf.dtype), state
  )


@pytest.mark.parametrize("make", [mtl.arch.film, mtl.arch.adapters])
def test_it_starts_as_hard_sharing(make):
  trunk = mtl.from_linen(mtl.nn.MLP((4, 3)))
  net, plain = make(trunk, HEADS), mtl.arch.hard_sharing(mtl.arch.chain(*trunk.stages), HEADS)

  @jax.jit
  def run(x):
    params, state = net.init(jax.random.key(1), x)
    same = {"shared": params["shared"], "task": {name: own["head"] for name, own in params["task"].items()}}
    empty = {"shared": {f"stage_{i}": {} for i in range(2)}, "task": {"a": {}, "b": {}}}
    return net.apply(params, state, x)[0], plain.apply(same, empty, x)[0]

  found, expected = run(jax.random.normal(jax.random.key(0), (3, 5)))
  for name in HEADS:
    np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_film_and_adapters_by_hand():
  trunk, x = mtl.arch.chain(dense(2, use_bias=False), dense(3, use_bias=False)), jnp.array([[1.0, 2.0]])
  film, adapters = mtl.arch.film(trunk, SAME), mtl.arch.adapters(trunk, SAME, bottleneck=2)
  params, state = filled(film, x)
  w0, w1 = (np.asarray(params["shared"][f"stage_{i}"]["kernel"]) for i in (0, 1))
  own = jax.tree.map(np.asarray, params["task"]["a"]["film"])
  h = (np.asarray(x) @ w0) * own["stage_0"]["scale"] + own["stage_0"]["shift"]
  h = (h @ w1) * own["stage_1"]["scale"] + own["stage_1"]["shift"]
  np.testing.assert_allclose(film.apply(params, state, x)[0]["a"], h, rtol=1e-5)

  own = filled(adapters, x)[0]["task"]
  h = np.asarray(x)
  for stage, w in (("stage_0", w0), ("stage_1", w1)):
    u, part = h @ w, jax.tree.map(np.asarray, own["a"]["adapter"][stage])
    low = np.maximum(u @ part["down"]["kernel"] + part["down"]["bias"], 0)
    h = u + low @ part["up"]["kernel"] + part["up"]["bias"]
  found, _ = adapters.apply({"shared": params["shared"], "task": own}, state, x)
  np.testing.assert_allclose(found["a"], h, rtol=1e-5)


class Normed(nn.Module):
  @nn.compact
  def __call__(self, x, train=False):
    return BatchNorm()(x, train)


def test_statistics_are_those_of_a_tasks_own_features():
  norm, heads = mtl.from_linen(Normed()), {"a": SAME["a"], "b": SAME["a"]}
  net, x = mtl.arch.film(mtl.arch.chain(stateless(lambda x: x), norm), heads), jnp.ones((4, 2))
  params, state = filled(net, x)
  _, after = net.apply(params, state, x, train=True)
  for name in heads:
    before = params["task"][name]["film"]["stage_0"]
    mean = after["task"][name]["trunk"]["stage_1"]["batch_stats"]["BatchNorm_0"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(mean, 0.9 + 0.1 * (before["scale"] + before["shift"]), rtol=1e-5)


def test_dropout_of_a_part_differs_between_tasks():
  class Drop(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
      return nn.Dropout(0.5, deterministic=not train)(x)

  trunk, x = mtl.arch.chain(stateless(lambda x: x), mtl.from_linen(Drop())), jnp.ones((4, 32))
  net = mtl.arch.film(trunk, {"a": SAME["a"], "b": SAME["a"]})
  params = {"shared": {"stage_0": {}, "stage_1": {}}}
  own = {f"stage_{i}": {"scale": jnp.ones(32), "shift": jnp.zeros(32)} for i in range(2)}
  params["task"] = {name: {"film": own, "head": {}} for name in "ab"}
  state = {"shared": {"stage_0": {}}, "task": {n: {"trunk": {"stage_1": {}}, "head": {}} for n in "ab"}}
  y, _ = net.apply(params, state, x, key=jax.random.key(0), train=True)
  assert set(np.unique(y["a"])) == {0.0, 2.0} and not np.array_equal(y["a"], y["b"])


def test_prompts_stand_before_the_sequence_and_count():
  words, trunk = jnp.arange(12.0).reshape(2, 3, 2), stateless(lambda x: x)
  net = mtl.arch.prompt(mtl.arch.chain(trunk, trunk), {"a": SAME["a"], "b": SAME["a"]}, length=2)
  params, state = filled(net, words)
  found, _ = net.apply(params, state, words)
  mask = jnp.array([[True, True, False], [True, False, False]])
  masked, _ = net.apply(params, state, {"x": words, "mask": mask})
  for name in "ab":
    tokens = params["task"][name]["prompt"]["stage_0"]["tokens"]
    assert tokens.shape == (2, 2)
    for i in range(2):
      np.testing.assert_array_equal(found[name][i], np.concatenate([tokens, words[i]]))
    np.testing.assert_array_equal(masked[name]["x"], found[name])
    np.testing.assert_array_equal(masked[name]["mask"][:, :2], True)
    np.testing.assert_array_equal(masked[name]["mask"][:, 2:], mask)


def test_errors():
  two, x = mtl.arch.chain(dense(2), dense(2)), jnp.ones((4, 3))
  with pytest.raises(mtl.UserError, match="adapters: bottleneck is 0, expected at least 1"):
    mtl.arch.adapters(two, HEADS, bottleneck=0)
  with pytest.raises(mtl.UserError, match="prompt: length is 0, expected at least 1"):
    mtl.arch.prompt(two, HEADS, length=0)
  with pytest.raises(mtl.UserError, match="prompt: works between the stages of a trunk, found one without stages"):
    mtl.arch.prompt(dense(2), HEADS)
  with pytest.raises(mtl.UserError, match=r"prompt: the first stage of the trunk gives an array float32\[4, 2\], exp"):
    mtl.arch.prompt(two, HEADS).init(jax.random.key(0), x)
  with pytest.raises(mtl.UserError, match="prompt: the first stage of the trunk gives a tuple, expected a sequence"):
    mtl.arch.prompt(mtl.arch.chain(stateless(lambda x: (x, x)), two), HEADS).init(jax.random.key(0), x)
  with pytest.raises(mtl.UserError, match=r"film: works on features, .*gives an array of shape \(4,\)"):
    mtl.arch.film(stateless(lambda x: x[:, 0]), HEADS).init(jax.random.key(0), x)
  with pytest.raises(mtl.UserError, match="adapters: works on features, .*gives int32"):
    mtl.arch.adapters(stateless(lambda x: x.astype(jnp.int32)), HEADS).init(jax.random.key(0), x)
