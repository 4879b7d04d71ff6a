"""Every engine gives the same update for every balancer it serves, on every kind of net."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._core.paths import by_path
from tests._compilations import compilations
from tests.balance._table import KINDS, TABLE
from tests.engine._problem import ConvTrunk, Trunk, one_step, problem, relative_distance, temporary_memory, update

ENGINES = {
  "stacked in turn": mtl.engine.stacked(one_by_one=True),
  "stacked at once": mtl.engine.stacked(one_by_one=False),
  "gram": mtl.engine.gram(),
}
# Batched backward passes are tried on nets of every kind below; each program of a method takes seconds to compile.
ALL = (
  ENGINES["stacked in turn"],
  ENGINES["gram"],
  mtl.engine.factored(),
  mtl.engine.losses(),
  mtl.engine.every(2),
)


def _jacobian_update(net, tasks, batch, inputs, balancer):
  """The step by definition: rows by jacrev, Gram matrix by matmul, weights times rows; heads their own gradient."""
  state = mtl.init_train_state(net, tasks, balancer, optax.sgd(0.1), batch, jax.random.key(1), inputs=inputs)
  parts = [jax.tree.map(lambda leaf, i=i: leaf[i :: len(balancer.shares)], batch) for i in range(len(balancer.shares))]
  found = [_rows(mtl.objective(net, tasks, inputs), state, part) for part in parts]
  return _by_definition(tasks, balancer, state.balancer, parts, *zip(*found, strict=True))


def _rows(objective, state, batch):
  """The losses (T,) and their gradients, leaves (T, ...)."""

  def losses(params):
    return jnp.stack(list(objective(params, state.state, batch, None)[0].values()))

  return losses(state.params), jax.jacrev(losses)(state.params)


def _by_definition(tasks, balancer, balancer_state, batches, losses, rows):
  """The update and the weights, from the losses and rows on each part of the batch."""
  there = np.array([[float(batch.get(f"m_{task}", jnp.ones(1)).sum()) > 0 for task in tasks] for batch in batches])
  labelled = there * np.array(balancer.shares, np.float32)[:, None]
  shares = labelled / np.maximum(labelled.sum(axis=0), 1e-9)
  joint = jax.tree.map(
    lambda *leaves: sum(jnp.einsum("t,t...->t...", s, leaf) for s, leaf in zip(shares, leaves, strict=True)), *rows
  )
  flat = [
    jnp.concatenate([leaf.reshape(len(tasks), -1) for leaf in jax.tree.leaves(tree["shared"])], axis=1)
    for tree in (joint, *rows)
  ]
  stats = mtl.balance.Stats(
    sum(there.astype(np.float32) * jnp.stack(losses)) / np.maximum(there.sum(axis=0), 1).astype(np.float32),
    jnp.matmul(flat[0], flat[0].T, precision="highest"),
    jnp.matmul(flat[1], flat[min(2, len(rows))].T, precision="highest"),
    joint["shared"],
    jnp.asarray(there.any(axis=0)),
  )
  if balancer.combine is None:
    weights, balancer_state = balancer.weigh(stats, balancer_state)
    shared = jax.tree.map(lambda r: jnp.tensordot(weights, r, axes=1), joint["shared"])
  else:
    shared, weights, balancer_state = balancer.combine(stats, balancer_state)
  head_weights = balancer.head_weights(weights, balancer_state)
  heads = jax.tree.map(lambda r: jnp.tensordot(head_weights, r, axes=1), joint["task"])
  return jax.tree.map(lambda g: -0.1 * g, {"shared": shared, "task": heads}), weights


def _masks(names, size):
  """All tasks; each way in which some have no labels; one whose labels are all in the first half of the batch."""
  rng = np.random.default_rng(0)
  some = rng.uniform(size=(len(names), size)) < 0.7
  for present in itertools.product([True, False], repeat=len(names)):
    if any(present):
      yield np.where(np.array(present)[:, None], some | all(present), False)
  yield np.where(np.arange(len(names))[:, None] == 0, np.arange(size) % 2 == 0, some)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.slow
def test_every_method_takes_the_step_of_the_definition(name):
  """By the engine that `auto` chooses; without a callback to the host, and without a second compilation."""
  net, tasks, batch, inputs = problem(3, masked=True)
  balancer, tx = TABLE[name].make(3), optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(1))
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx))
  program = step.lower(state, batch).as_text()
  assert not re.search(r"custom_call @\w*(callback|host)|outfeed|infeed|send|recv", program)
  expected, weights = _expected(tasks, balancer, state, batch)
  new, metrics = step(state, batch)
  np.testing.assert_allclose([metrics["weights"][task] for task in tasks], weights, rtol=2e-3, atol=1e-5)
  assert relative_distance(update(state.params, new.params), expected) < 2e-3
  new, _ = step(new, batch)
  before = compilations()
  for _ in range(3):
    new, metrics = step(new, batch)
  assert compilations() == before > 0
  assert int(new.step) == 5 and int(new.skipped) == 0


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.slow
def test_every_engine_follows_the_definition(name):
  """All engines that serve the method in one program, whichever tasks have labels, and the first again in bfloat16."""
  net, tasks, batch, inputs = problem(3, masked=True)
  balancer, tx = TABLE[name].make(3), optax.sgd(0.1)
  engines = [engine for engine in ALL if not mtl.engine.missing(engine, balancer)]
  assert engines
  states = [
    mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(1), engine=engine)
    for engine in [*engines, engines[0]]
  ]
  steps = [mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine) for engine in engines]
  low = mtl.objective(net, tasks, compute_dtype=jnp.bfloat16)
  steps.append(mtl.make_train_step(low, balancer, tx, engines[0]))
  program = jax.jit(lambda states, batch: [step(state, batch) for step, state in zip(steps, states, strict=True)])
  for masks in _masks(tasks, 24):
    batch |= {f"m_{task}": jnp.asarray(mask, jnp.float32) for task, mask in zip(tasks, masks, strict=True)}
    expected, weights = _expected(tasks, balancer, states[0], batch)
    results = program(states, batch)
    updates = [update(states[0].params, new.params) for new, _ in results]
    for found, (new, metrics) in zip(updates[:-1], results[:-1], strict=True):
      np.testing.assert_allclose([metrics["weights"][task] for task in tasks], weights, rtol=2e-3, atol=1e-5)
      # An update is a difference of parameters, so it carries their rounding: 1e-7 of values ten times its size.
      assert relative_distance(found, expected) < 2e-3
      assert relative_distance(found, updates[0]) < 1e-5
      for task, mask in zip(tasks, masks, strict=True):
        assert bool(metrics["present"][task]) == mask.any()
        assert mask.any() or all(not leaf.any() for leaf in jax.tree.leaves(found["task"][task]))
      assert int(new.empty) == int(new.skipped) == 0
    new, metrics = results[-1]
    assert {leaf.dtype for leaf in jax.tree.leaves(new.params)} == {jnp.dtype("float32")}
    assert int(metrics["skipped"]) == 0
    if TABLE[name].continuous:  # bfloat16 keeps 8 bits: gradients to about 1 %, weights to a few
      lows = np.array([metrics["weights"][task] for task in tasks])
      np.testing.assert_allclose(lows, weights, atol=0.1 * np.abs(weights).max())


@functools.cache
def _program_of_rows():
  net, tasks, batch, _ = problem(3, masked=True)
  state = mtl.init_train_state(net, tasks, mtl.balance.equal(), optax.sgd(0.1), batch, jax.random.key(1))
  return jax.jit(lambda params, part: _rows(mtl.objective(net, tasks), state._replace(params=params), part))


def _expected(tasks, balancer, state, batch):
  """The update and the weights by definition, for the masked problem."""
  parts = [jax.tree.map(lambda leaf, i=i: leaf[i :: len(balancer.shares)], batch) for i in range(len(balancer.shares))]
  rows = [_program_of_rows()(state.params, part) for part in parts]
  return _by_definition(tasks, balancer, state.balancer, parts, *zip(*rows, strict=True))


@pytest.mark.parametrize("k", [1, 3])
def test_every_keeps_weights_and_states_between_its_steps(k):
  net, tasks, batch, inputs = problem(3)
  balancer, tx, engine = mtl.balance.random(), optax.sgd(0.1), mtl.engine.every(k, mtl.engine.losses())
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(1), engine=engine)
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine))
  found = []
  for _ in range(7):
    state, metrics = step(state, batch)
    found.append([float(metrics["weights"][task]) for task in tasks])
  changes = [i for i in range(1, 7) if found[i] != found[i - 1]]
  assert changes == [i for i in range(1, 7) if i % k == 0]


def test_every_refuses_methods_without_weights_and_bad_periods():
  net, tasks, _, _ = problem(3)
  balancer = mtl.balance.per_group(mtl.balance.mgda(), ["kernel"])
  with pytest.raises(mtl.UserError, match="cannot serve this balancer: it needs rows"):
    mtl.make_train_step(mtl.objective(net, tasks), balancer, optax.sgd(1.0), mtl.engine.every(2))
  with pytest.raises(mtl.UserError, match="every: k is 0, expected at least 1"):
    mtl.engine.every(0)


@pytest.mark.slow
def test_the_engine_stops_at_the_layers_that_the_balancer_looks_at():
  net, tasks, batch, inputs = problem(3)
  last = mtl.balance.mgda()._replace(layers="Dense_1")
  results = [one_step(net, tasks, batch, inputs, last, engine) for engine in ENGINES.values()]
  rows = jax.jacrev(
    lambda shared: jnp.stack(
      list(
        mtl.objective(net, tasks)(
          {**results[0][0], "shared": shared}, {"shared": {}, "task": dict.fromkeys(tasks, {})}, batch
        )[0].values()
      )
    )
  )(results[0][0]["shared"])
  gram = mtl.balance.gram({path: leaf for path, leaf in by_path(rows).items() if "Dense_1" in path})
  expected, _ = last.weigh(mtl.balance.Stats(jnp.ones(3), gram), last.init(3))
  for _, _, metrics in results:
    np.testing.assert_allclose([metrics["weights"][task] for task in tasks], expected, atol=1e-4)
  with pytest.raises(mtl.UserError, match="no shared parameter matches 'Conv': there are Dense_0/bias"):
    one_step(net, tasks, batch, inputs, last._replace(layers="Conv"), ENGINES["gram"])


def test_a_batch_that_cannot_be_halved_is_an_error():
  net, tasks, batch, inputs = problem(2, batch=9)
  with pytest.raises(mtl.UserError, match="a batch of 9 examples cannot be, choose a multiple of 2"):
    one_step(net, tasks, batch, inputs, mtl.balance.mgda()._replace(shares=(0.5, 0.5)), None)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
  "kind", [dict(trunk=ConvTrunk()), dict(cut=False), dict(own_inputs=True)], ids=["conv", "uncut", "own inputs"]
)
@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.usefixtures("optimized")
@pytest.mark.slow
def test_layers_add_no_cotangents_of_all_tasks():
  """T = 8, batch 256, layers of 64 and 96 by turns: two more add less than the T cotangents of one."""

  def temp(layers):
    net, tasks, batch, _ = problem(8, trunk=Trunk((64, 96) * (layers // 2)), batch=256, features=16)
    return temporary_memory(net, tasks, batch, mtl.engine.gram())

  assert temp(6) - temp(4) < 8 * 4 * 256 * 64


@pytest.mark.usefixtures("optimized")
@pytest.mark.slow
def test_gram_keeps_one_leaf_of_rows_and_stacked_keeps_all():
  """T = 16, MLP 256-1024x4, batch 256: `gram`'s temporary memory is under 60 % of `stacked`'s."""
  net, tasks, batch, _ = problem(16, trunk=Trunk((1024,) * 4), batch=256, features=256)

  rows = 16 * 4 * (256 * 1024 + 3 * 1024 * 1024)
  stacked, gram = (temporary_memory(net, tasks, batch, engine) for engine in (mtl.engine.stacked(), mtl.engine.gram()))
  assert stacked > rows
  assert gram < 0.6 * stacked
