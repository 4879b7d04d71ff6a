"""Convolutions in loops and branches get the order of axes for which there is fast code, and the same results."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._jaxpr.convolutions import canonical
from tests.engine._problem import ConvTrunk, convolutions, problem

CANONICAL = ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


def orders(eqns):
  return {tuple(map(tuple, eqn.params["dimension_numbers"])) for eqn in convolutions(eqns)}


def conv(numbers, **options):
  return lambda x, w: jax.lax.conv_general_dilated(x, w, (2, 1), ((1, 1), (0, 1)), dimension_numbers=numbers, **options)


def in_loop(f):
  return lambda *args: jax.lax.fori_loop(0, 2, lambda i, total: jax.tree.map(jnp.add, total, f(*args)), f(*args))


def in_branch(f):
  return lambda *args: jax.lax.cond(args[0].sum() > 0, f, lambda *a: jax.tree.map(jnp.zeros_like, f(*a)), *args)


def in_calls(f):
  return jax.jit(jax.checkpoint(in_branch(jax.jit(f))))


@pytest.mark.parametrize("around", [in_loop, in_branch, in_calls])
@pytest.mark.parametrize(
  ("numbers", "x", "w", "options"),
  [
    (("NHWC", "HWIO", "NHWC"), (2, 6, 5, 4), (3, 2, 4, 6), {}),
    (("NCHW", "OIHW", "NCHW"), (2, 4, 6, 5), (6, 4, 3, 2), {}),
    (("HWCN", "IOHW", "CHNW"), (6, 5, 4, 2), (4, 6, 3, 2), {"lhs_dilation": (1, 2)}),
    (("NHWC", "HWIO", "NHWC"), (2, 6, 5, 4), (3, 3, 1, 4), {"feature_group_count": 4, "rhs_dilation": (1, 2)}),
  ],
)
def test_values_and_gradients(numbers, x, w, options, around):
  keys = jax.random.split(jax.random.key(0))
  args = jax.random.normal(keys[0], x) + 0.1, jax.random.normal(keys[1], w)

  def both(x, w):
    y, pull = jax.vjp(conv(numbers, **options), x, w)
    return y, pull(jnp.cos(y))

  found, expected = jax.jit(canonical(around(both)))(*args), jax.jit(around(both))(*args)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())
  rewritten = jax.make_jaxpr(canonical(around(both)))(*args)
  assert orders(rewritten.eqns) == {CANONICAL}


def test_functions_without_loops_stay_as_they_are():
  args = jnp.ones((2, 4, 6, 5)), jnp.ones((6, 4, 3, 2))
  function = conv(("NCHW", "OIHW", "NCHW"))
  assert str(jax.make_jaxpr(canonical(function))(*args)) == str(jax.make_jaxpr(function)(*args))


@pytest.mark.parametrize("engine", [mtl.engine.every(2, mtl.engine.gram()), mtl.engine.stacked()])
@pytest.mark.slow
def test_a_step_holds_no_others_in_branches_and_microbatches(engine):
  net, tasks, batch, _ = problem(2, trunk=ConvTrunk(), batch=8)
  net = mtl.arch.microbatch(net, 2)
  balancer, tx = mtl.balance.mgda(), optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=engine)
  step = mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine)
  assert orders(jax.make_jaxpr(step)(state, batch).eqns) == {CANONICAL}
