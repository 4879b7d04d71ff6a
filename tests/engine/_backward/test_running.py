"""The three ways of running equations for all tasks: the same values, and what is the matter with each."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.engine._backward import backward, order, program, running
from mtl_jax.engine._backward.running import AtOnce, FewAtATime, InTurn, Piece
from mtl_jax.engine._cotangents import Alone, Cotangents
from mtl_jax.engine.factored import factored_gram
from mtl_jax.engine.linearize import linearize
from mtl_jax.engine.linearized import Pullback
from tests._compiler import JAXLIB
from tests.engine._problem import ConvTrunk, Trunk, problem, temporary_memory

TASKS = 11  # more than fit into one batch


def cotangents():
  return jax.random.normal(jax.random.key(0), (TASKS, 3, 4)), jax.random.normal(jax.random.key(1), (TASKS,))


def run(runner, axes, convolves=False):
  """Two values read and three made, one of them in the place of what ends; as stacks along the first axis."""
  x, y = cotangents()
  each = [lambda seed, i=i: (seed * x[i], seed * y[i]) for i in range(TASKS)]
  cotangents_ = Cotangents([Alone(one(1.0), one) for one in each])
  pullback = Pullback(tuple(range(TASKS)), cotangents_, lambda w: w, lambda c: c)
  (at_x, at_y), (like_x, sums, scaled) = axes
  piece = Piece(
    lambda x, y: [jnp.tanh(x) * y, x.sum(axis=1), y * 2.0],
    in_axes=(at_x, at_y),
    out_axes=[like_x, sums, scaled],
    ended=(True, True),
    convolves=convolves,
    zero=jnp.zeros(()),
  )
  made = runner.run(piece, runner.cotangents(pullback, [at_x, at_y]))
  rows = runner.rows(made[0], like_x)
  return [runner.stacked(value, held, 0) for value, held in zip(made, piece.out_axes, strict=True)], rows


@pytest.mark.parametrize("convolves", [False, True])
@pytest.mark.parametrize("runner", [InTurn(TASKS), AtOnce(TASKS), FewAtATime(TASKS)])
def test_all_make_the_same_values(runner, convolves):
  x, y = cotangents()
  places = [((1, 0), (1, 1, 0)), ((0, 0), (2, 0, 0)), ((2, 0), (2, 1, 0))]
  for (product, sums, scaled), rows in jax.jit(lambda: [run(runner, axes, convolves) for axes in places])():
    np.testing.assert_allclose(product, jnp.tanh(x) * y[:, None, None], rtol=1e-6)
    np.testing.assert_allclose(rows, product)
    np.testing.assert_allclose(sums, x.sum(axis=2), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scaled, 2 * y, rtol=1e-6)


@pytest.mark.parametrize(
  ("kind", "trunk", "products"),
  [
    (InTurn, Trunk(), True),
    (InTurn, ConvTrunk(), False),
    (AtOnce, Trunk(), False),
    (AtOnce, ConvTrunk(), True),
    (FewAtATime, Trunk(), True),
    (FewAtATime, ConvTrunk(), False),
  ],
)
@pytest.mark.slow
def test_nan_of_one_task_stays_with_it(kind, trunk, products, monkeypatch):
  """The order of operations is held by zeros made of values: those of NaN are zeros too."""
  monkeypatch.setattr(sys.modules["mtl_jax.engine.factored"], "runner", lambda count, one_by_one: kind(count))
  monkeypatch.setattr("mtl_jax.engine._backward.ways.pays", lambda layers, counts: True)
  net, tasks, batch, _ = problem(3, trunk=trunk, batch=8)
  params, state = jax.jit(net.init)(jax.random.key(0), batch["x"])
  broken = batch | {"y_t0": jnp.full_like(batch["y_t0"], jnp.nan)}

  @jax.jit
  def grams(batch):
    return factored_gram(linearize(mtl.objective(net, tasks), params, state, batch, None), None, products=products)[0]

  expected, found = np.asarray(grams(batch)), np.asarray(grams(broken))
  assert np.isnan(found[0]).all() and np.isnan(found[:, 0]).all()
  np.testing.assert_array_equal(found[1:, 1:], expected[1:, 1:])


@pytest.mark.slow
def test_a_barrier_does_not_hold_the_order_on_cpu(monkeypatch):
  """Why values are added zeros: with `optimization_barrier` the cotangents of 10 tasks lie beside their stack.

  The compiler of JAX 0.12 takes the same memory either way.
  """
  net, tasks, batch, _ = problem(10, trunk=Trunk((512,)), batch=256, features=64)
  ordered = temporary_memory(net, tasks, batch, mtl.engine.factored())
  barrier = jax.lax.optimization_barrier
  for module in (backward, order, program, running):
    monkeypatch.setattr(module, "after", lambda value, zero: barrier((value, zero))[0], raising=False)
    monkeypatch.setattr(module, "zero_after", lambda value: barrier((value, jnp.zeros(())))[1], raising=False)
  least = 1.3 if JAXLIB < (0, 11) else 1.0
  assert temporary_memory(net, tasks, batch, mtl.engine.factored()) >= least * ordered
