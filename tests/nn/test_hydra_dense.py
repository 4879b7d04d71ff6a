"""The dense layer of HydraLoRA."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl

EYE = jnp.eye(2)


def test_values_are_those_of_the_official_code():
  layer = mtl.nn.HydraDense(2, rank=1, ups=2, use_bias=False)
  params = {"kernel": EYE, "a": EYE[:, :1], "b": EYE[:, None], "router": EYE}
  y = layer.apply({"params": params}, jnp.array([[[1.0, 2.0], [0.0, 1.0]]]))
  np.testing.assert_allclose(y[0], [[3.151531, 7.848469], [0, 1]], rtol=1e-6)  # each position by itself


def test_it_starts_as_a_dense_layer():
  layer, x = mtl.nn.HydraDense(3, rank=2), jax.random.normal(jax.random.key(1), (4, 5))

  @jax.jit
  def run(key):
    params = layer.init(key, x)["params"]
    plain = {"kernel": params["kernel"], "bias": params["bias"]}
    moved = {**params, "b": jnp.ones_like(params["b"])}
    return [nn.Dense(3).apply({"params": plain}, x), *(layer.apply({"params": p}, x) for p in (params, moved))]

  plain, found, moved = run(jax.random.key(0))
  np.testing.assert_allclose(found, plain, rtol=1e-6)
  assert not np.allclose(moved, plain)


def test_dropout_acts_on_the_update_alone():
  layer = mtl.from_linen(mtl.nn.HydraDense(2, rank=1, ups=2, scale=1.0, dropout=0.5, use_bias=False))
  params = {"kernel": EYE, "a": EYE[:, :1], "b": jnp.ones((2, 1, 2)), "router": EYE}
  y, _ = layer.apply(params, {}, jnp.ones((64, 2)), key=jax.random.key(0), train=True)
  assert set(np.unique(y)) == {1.0, 3.0}
  assert layer.apply(params, {}, jnp.ones((1, 2)))[0].tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize(("option", "value", "least"), [("rank", -1, 0), ("ups", 0, 1)])
def test_numbers_out_of_range(option, value, least):
  with pytest.raises(mtl.UserError, match=f"HydraDense: {option} is {value}, expected at least {least}"):
    mtl.from_linen(mtl.nn.HydraDense(2, **{option: value})).init(jax.random.key(0), jnp.ones((1, 2)))


def test_bfloat16_and_rank_0():
  layer, x = mtl.nn.HydraDense(3, rank=0), jnp.ones((2, 5))
  shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
  params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, jnp.bfloat16), shapes)
  y = layer.apply(params, x.astype(jnp.bfloat16))
  assert y.dtype == jnp.bfloat16 and y.tolist() == [[6.0] * 3] * 2
