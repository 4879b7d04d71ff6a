"""Accumulation by pieces: the same losses and gradients as the whole batch, with the memory of a piece."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.engine.linearize import linearize
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


def gradients(engine, linear):
  """The shared gradient that an engine finds, with MGDA where it serves it."""
  balancer, made = mtl.balance.equal() if engine == "losses" else mtl.balance.mgda(), getattr(mtl.engine, engine)()
  return made.run(linear, balancer, balancer.init(3), made.init(3))[0]


@pytest.mark.slow
def test_every_engine_takes_it_and_checkpoints():
  """The trunk in four pieces, and the trunk's layers computed again in the backward pass: the same gradients."""
  net, tasks, batch, _ = problem(3, trunk=Trunk())
  checkpointed, *_ = problem(3, trunk=nn.remat(Trunk)())
  params, state = net.init(jax.random.key(0), batch["x"])
  names = sorted({*mtl.engine.names()} - {"auto"})  # which takes another
  own = ("losses", "features", "sketched")  # the others find the same G, and so the same gradient

  @jax.jit
  def run(params, batch):
    def linear(net):
      return linearize(mtl.objective(net, tasks), params, state, batch, None)

    whole, plain, pieces = linear(net), *(linear(mtl.arch.microbatch(each, 4)) for each in (net, checkpointed))
    found = {name: gradients(name, pieces) for name in names} | {"heads": pieces.pull_heads(jnp.ones(3))}
    # `factored` and `gram` look at each operation of the trunk, so they are shown pieces without checkpoints, too.
    found |= {f"{name} without checkpoints": gradients(name, plain) for name in ("factored", "gram")}
    expected = {name: gradients(name, whole) for name in ("stacked", *own)} | {"heads": whole.pull_heads(jnp.ones(3))}
    return found, expected

  found, expected = run(params, batch)
  for name, gradient in found.items():
    whole = expected.get(name, expected["stacked"])
    jax.tree.map(lambda a, b, name=name: np.testing.assert_allclose(a, b, atol=1e-5, err_msg=name), gradient, whole)


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
