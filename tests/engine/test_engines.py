"""Every engine gives the same update for every balancer it serves, on every kind of net."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from tests.balance._table import TABLE
from tests.engine._problem import ConvTrunk, one_step, problem, relative_distance, update

GRAM = [name for name, method in TABLE.items() if "gram" in method.make(3).needs]
ENGINES = {
  "stacked in turn": mtl.engine.stacked(one_by_one=True),
  "stacked at once": mtl.engine.stacked(one_by_one=False),
  "gram": mtl.engine.gram(),
}


def _jacobian_update(net, tasks, batch, inputs, balancer):
  """The step by definition: rows by jacrev, Gram matrix by matmul, weights times rows; heads their own gradient."""
  state = mtl.init_train_state(net, tasks, balancer, optax.sgd(0.1), batch, jax.random.key(1), inputs=inputs)
  objective = mtl.objective(net, tasks, inputs)

  def losses(params):
    by_name, _ = objective(params, state.state, batch, jax.random.fold_in(state.key, 0))
    return jnp.stack([by_name[name] for name in tasks])

  rows = jax.jacrev(losses)(state.params)
  flat = jnp.concatenate([leaf.reshape(len(tasks), -1) for leaf in jax.tree.leaves(rows["shared"])], axis=1)
  stats = mtl.balance.Stats(losses(state.params), jnp.matmul(flat, flat.T, precision="highest"))
  weights, balancer_state = balancer.weigh(stats, state.balancer)
  head_weights = balancer.head_weights(weights, balancer_state)
  step = {
    "shared": jax.tree.map(lambda r: -0.1 * jnp.tensordot(weights, r, axes=1), rows["shared"]),
    "task": jax.tree.map(lambda r: -0.1 * jnp.tensordot(head_weights, r, axes=1), rows["task"]),
  }
  return step, weights


@pytest.mark.parametrize("name", TABLE)
def test_default_engine_follows_the_definition(name):
  net, tasks, batch, inputs = problem(3)
  balancer = TABLE[name].make(3)
  before, after, metrics = one_step(net, tasks, batch, inputs, balancer, None)
  expected, weights = _jacobian_update(net, tasks, batch, inputs, balancer)
  found = jnp.stack([metrics["weights"][task] for task in tasks])
  np.testing.assert_allclose(found, weights, rtol=2e-3, atol=1e-5)
  # An update is a difference of parameters, so it carries their rounding: 1e-7 of values ten times its size.
  assert relative_distance(update(before, after), expected) < 2e-3


@pytest.mark.parametrize("name", GRAM)
def test_stacked_and_gram_give_the_same_update(name):
  net, tasks, batch, inputs = problem(4)
  balancer = TABLE[name].make(4)
  results = [one_step(net, tasks, batch, inputs, balancer, engine)[1] for engine in ENGINES.values()]
  assert relative_distance(results[1], results[0]) < 1e-5
  assert relative_distance(results[2], results[0]) < 1e-5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
  "kind", [dict(trunk=ConvTrunk()), dict(cut=False), dict(own_inputs=True)], ids=["conv", "uncut", "own inputs"]
)
def test_engines_agree_on_every_kind_of_net(engine, kind):
  net, tasks, batch, inputs = problem(3, **kind)
  balancer = mtl.balance.mgda()
  before, after, _ = one_step(net, tasks, batch, inputs, balancer, ENGINES[engine])
  expected, _ = _jacobian_update(net, tasks, batch, inputs, balancer)
  assert relative_distance(update(before, after), expected) < 2e-3


def test_losses_engine_equals_the_gradient_of_the_weighted_sum():
  net, tasks, batch, inputs = problem(3)
  balancer = mtl.balance.constant([0.5, 2.0, 0.0])
  before, after, _ = one_step(net, tasks, batch, inputs, balancer, mtl.engine.losses())
  expected, _ = _jacobian_update(net, tasks, batch, inputs, balancer)
  assert relative_distance(update(before, after), expected) < 1e-4
  assert relative_distance(after["task"]["t2"], before["task"]["t2"]) == 0.0  # weight 0: the head stays


def test_objective_may_be_any_function():
  def losses(params, state, batch, key):
    w = params["shared"]
    return {"a": jnp.sum((w - 1.0) ** 2), "b": jnp.sum((w + 1.0) ** 2) * params["task"]["b"]}, {"state": state}

  params = {"shared": jnp.zeros(3), "task": {"a": jnp.ones(()), "b": jnp.ones(())}}
  tx, results = optax.sgd(0.1), []
  for engine in ENGINES.values():
    balancer = mtl.balance.mgda()
    state = mtl.TrainState(
      jnp.int32(0), params, {}, tx.init(params), balancer.init(2), engine.init(2), jax.random.key(0),
      jnp.int32(0), jnp.zeros(2, jnp.int32), jnp.int32(-1),
    )  # fmt: skip
    new, _ = mtl.make_train_step(losses, balancer, tx, engine)(state, None)
    results.append(new.params)
  for result in results:
    np.testing.assert_allclose(result["shared"], 0.0, atol=1e-6)  # opposite gradients: Pareto stationary
    np.testing.assert_allclose(result["task"]["b"], 1.0 - 0.1 * 3.0, rtol=1e-6)


def test_gram_in_bfloat16_compute_is_float32():
  net, tasks, batch, inputs = problem(3)
  exact = one_step(net, tasks, batch, inputs, mtl.balance.mgda(), ENGINES["gram"])[2]
  for engine in ENGINES.values():
    _, after, metrics = one_step(net, tasks, batch, inputs, mtl.balance.mgda(), engine, compute_dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(after)} == {jnp.dtype("float32")}
    for task in tasks:  # bfloat16 keeps 8 bits: gradients to about 1 %
      assert abs(float(metrics["weights"][task]) - float(exact["weights"][task])) < 0.05


def test_an_engine_says_what_it_cannot_serve():
  net, tasks, _, _ = problem(2)
  with pytest.raises(mtl.UserError, match="engine 'losses' cannot serve this balancer: it needs gram"):
    mtl.make_train_step(mtl.objective(net, tasks), mtl.balance.pcgrad(), optax.sgd(1.0), mtl.engine.losses())


def test_gram_keeps_one_leaf_of_rows_and_stacked_keeps_all():
  """T = 32, MLP 256-1024x4, batch 256: `gram`'s temporary memory is under 60 % of `stacked`'s."""
  net, tasks, batch, inputs = problem(32, trunk=Trunk1024(), batch=256, features=256)

  def temp(engine):
    balancer, tx = mtl.balance.pcgrad(), optax.sgd(0.1)
    state = jax.eval_shape(lambda: mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0)))
    step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine), donate_argnums=0)
    return step.lower(state, batch).compile().memory_analysis().temp_size_in_bytes

  rows = 32 * 4 * (256 * 1024 + 3 * 1024 * 1024)
  stacked, gram = temp(mtl.engine.stacked()), temp(mtl.engine.gram())
  assert stacked > rows
  assert gram < 0.6 * stacked


def Trunk1024():
  from tests.engine._problem import Trunk

  return Trunk((1024,) * 4)
