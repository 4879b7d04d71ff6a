"""Accumulation by pieces: the same losses and gradients as the whole batch, with the memory of a piece."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from tests.engine._problem import Trunk, problem


@pytest.mark.parametrize(("cut", "counts"), [(True, (4, 24)), (False, (2,))])
def test_losses_and_gradients_are_those_of_the_whole_batch(cut, counts):
  net, tasks, batch, _ = problem(3, cut=cut, batch=24)
  # Labels missing in some pieces only: a mean of the pieces' means would be wrong.
  tasks["t0"] = mtl.tasks.regression("y_t0", mask="known")
  batch["known"] = (jnp.arange(24) % 4 == 0).astype(jnp.float32)
  params, state = net.init(jax.random.key(0), batch["x"])

  def gradients(net):
    objective = mtl.objective(net, tasks)
    return jax.jit(jax.jacrev(lambda p: jnp.stack([*objective(p, state, batch, None)[0].values()])))(params)

  whole = gradients(net)
  for count in counts:
    pieces = gradients(mtl.arch.microbatch(net, count))
    for a, b in zip(jax.tree.leaves(pieces), jax.tree.leaves(whole), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def after_a_step(engine, net, tasks, batch):
  """The parameters after a step from the same state, with MGDA where the engine serves it."""
  balancer = mtl.balance.equal() if engine == "losses" else mtl.balance.mgda()
  made, tx = getattr(mtl.engine, engine)(), optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=made)
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, made))
  return jax.tree.leaves(step(state, batch)[0].params)


@functools.cache
def of_the_whole_batch(engine):
  net, tasks, batch, _ = problem(3, trunk=Trunk())
  return after_a_step(engine, net, tasks, batch)


# `factored` and `gram` look at each operation of the trunk, so they are shown pieces without checkpoints, too.
CASES = [(engine, nn.remat(Trunk)) for engine in sorted({*mtl.engine.names()} - {"auto"})]  # which takes another
CASES += [("factored", Trunk), ("gram", Trunk)]


@pytest.mark.parametrize(("engine", "trunk"), CASES)
@pytest.mark.slow
def test_every_engine_takes_it_and_checkpoints(engine, trunk):
  """The trunk in four pieces, and the trunk's layers computed again in the backward pass: the same step."""
  net, tasks, batch, _ = problem(3, trunk=trunk())
  found = after_a_step(engine, mtl.arch.microbatch(net, 4), tasks, batch)
  own = engine in ("losses", "features", "sketched")  # the others find the same G, and so take the same step
  whole = of_the_whole_batch(engine if own else "stacked")
  for a, b in zip(found, whole, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_predictions_keep_the_order_of_examples_and_statistics_move():
  trunk = nn.Sequential([nn.Dense(4)])
  net = mtl.arch.hard_sharing(mtl.from_linen(trunk), {"a": mtl.from_linen(nn.Dense(2))})
  x = jax.random.normal(jax.random.key(0), (12, 3))
  params, state = net.init(jax.random.key(1), x)
  whole = net.apply(params, state, x)[0]["a"]
  np.testing.assert_allclose(mtl.arch.microbatch(net, 3).apply(params, state, x)[0]["a"], whole, atol=1e-6)


def test_dropout_differs_between_pieces():
  trunk = nn.Dropout(0.5)
  net = mtl.arch.microbatch(mtl.from_linen(trunk), 2)
  y, _ = net.apply({}, {}, jnp.ones((4, 64)), key=jax.random.key(0), train=True)
  assert not np.array_equal(y[0], y[1])  # examples 0 and 1 are in different pieces


@pytest.mark.slow
def test_memory_is_that_of_a_piece():
  net, tasks, batch, _ = problem(2, trunk=Trunk((256,) * 6), batch=2048)

  def temp(net):
    params, state = net.init(jax.random.key(0), batch["x"])
    losses = mtl.objective(net, tasks)
    grad = jax.jit(jax.grad(lambda p: sum(losses(p, state, batch, None)[0].values())))
    return grad.lower(params).compile().memory_analysis().temp_size_in_bytes

  activations = 6 * 2048 * 256 * 4
  assert temp(net) > 0.8 * activations
  assert temp(mtl.arch.microbatch(net, 8)) < 0.6 * activations


def test_errors():
  net, _, batch, _ = problem(2)
  params, state = net.init(jax.random.key(0), batch["x"])
  with pytest.raises(mtl.UserError, match="count is 0, expected at least 1"):
    mtl.arch.microbatch(net, 0)
  with pytest.raises(mtl.UserError, match="a batch of 24 examples cannot be cut into 7 equal pieces"):
    mtl.arch.microbatch(net, 7).apply(params, state, batch["x"])
