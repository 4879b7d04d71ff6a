"""A small trunk in stages, heads and inputs, for tests of single architectures."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import mtl_jax as mtl

X = jax.random.normal(jax.random.key(5), (4, 6))
NAMES = ("a", "b", "c")


def trunk(*widths):
  """Tanh layers, which have gradients everywhere."""
  return mtl.from_linen(mtl.nn.MLP(widths or (6, 6), activation=jnp.tanh))


def in_chain(*widths):
  """The same as a chain, whose parameters lie under the names of its stages."""
  return mtl.arch.chain(*trunk(*widths).stages)


def heads(names=NAMES):
  return {name: mtl.from_linen(nn.Dense(1)) for name in names}


def same(found, expected):
  for name, y in expected.items():
    np.testing.assert_allclose(found[name], y, rtol=1e-5, atol=1e-6, err_msg=name)


def started(net, x=X):
  """Parameters and state of a net."""
  return jax.jit(net.init)(jax.random.key(0), x)


def predicted(net, params, state, x=X, **context):
  """Its predictions."""
  return jax.jit(lambda params, state: net.apply(params, state, x, **context)[0])(params, state)
