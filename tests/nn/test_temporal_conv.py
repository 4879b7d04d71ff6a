"""Temporal convolutions: formula, and how far each step sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.nn._table import inputs, weighted


def _seen(module, step, length=24):
  """The steps that influence one."""
  x = inputs((1, length, 2))
  net = mtl.from_linen(module)
  _, params, _ = weighted(module, x)
  slope = jax.jit(jax.grad(lambda x: jnp.sum(net.apply(params, {}, x)[0]["x"][0, step])))(x)
  return np.flatnonzero(np.abs(slope[0]).sum(axis=-1)).tolist()


@pytest.mark.parametrize("causal", [True, False])
def test_each_step_sees_so_far(causal):
  """Two convolutions of dilation 1 and two of 2, of kernel 3: 2 (1 + 2) steps to each side, or twice as many back."""
  module = mtl.nn.TemporalConv((4, 4), pool=None, causal=causal, activation=jnp.tanh)
  assert _seen(module, 13) == list(range(1, 14) if causal else range(7, 20))


def test_last_step_is_the_last_without_padding():
  module = mtl.nn.TemporalConv((), pool="last")
  x = inputs((3, 5, 2))
  mask = jnp.arange(5)[None] < jnp.array([2, 5, 1])[:, None]
  y, _ = mtl.from_linen(module).apply({}, {}, {"x": x, "mask": mask})
  np.testing.assert_array_equal(y, np.stack([x[0, 1], x[1, 4], x[2, 0]]))


def test_block_is_the_formula():
  module, x = mtl.nn.TemporalConv((3, 4), causal=True, pool=None), inputs((2, 9, 3))
  net = mtl.nn.stages(module)[1]
  given = {"x": x, "mask": jnp.ones((2, 9), bool)}
  params, state = jax.eval_shape(net.init, jax.random.key(0), given)
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda a: rng.standard_normal(a.shape).astype(np.float32), params)

  def convolved(p, h):
    past = np.concatenate([np.zeros((2, 4, h.shape[-1]), np.float32), h], axis=1)
    return sum(past[:, 2 * k : 2 * k + 9] @ p["kernel"][k] for k in range(3)) + p["bias"].reshape(1, 1, -1)

  def normalised(p, h):
    h = h - h.mean(axis=-1, keepdims=True)
    h = h / np.sqrt((h**2).mean(axis=-1, keepdims=True) + 1e-6)
    return h * p["scale"].reshape(1, 1, -1) + p["bias"].reshape(1, 1, -1)

  h = np.asarray(x)
  for j in range(2):
    h = np.maximum(normalised(params[f"block_1_norm_{j}"], convolved(params[f"block_1_conv_{j}"], h)), 0)
  residual = params["block_1_residual"]
  expected = np.maximum(h + np.asarray(x) @ residual["kernel"] + residual["bias"].reshape(1, 1, -1), 0)
  found, _ = jax.jit(net.apply)(params, state, given)
  np.testing.assert_allclose(found["x"], expected, rtol=1e-4, atol=1e-4)
