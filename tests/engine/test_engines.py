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
from mtl_jax._jaxpr.equations import inner
from mtl_jax.engine.linearize import linearize
from tests.balance._table import KINDS, TABLE
from tests.engine._problem import ConvTrunk, Trunk, one_step, problem, relative_distance, temporary_memory, update

ENGINES = {
  "stacked in turn": mtl.engine.stacked(one_by_one=True),
  "stacked at once": mtl.engine.stacked(one_by_one=False),
  "gram": mtl.engine.gram(),
}
# Batched backward passes are tried on nets of every kind below.
OTHERS = (mtl.engine.gram(), mtl.engine.factored(), mtl.engine.losses(), mtl.engine.every(2))


def _losses_and_rows(net, tasks, inputs, state):
  """`(params, batch) -> (losses (T,), their gradients, leaves (T, ...))` by `jax.jacrev`, compiled."""
  objective = mtl.objective(net, tasks, inputs)

  def losses(params, batch):
    by_name = objective(params, state, batch, None)[0]
    return (vector := jnp.stack(list(by_name.values()))), vector

  jacobian = jax.jit(jax.jacrev(losses, has_aux=True))
  return lambda params, batch: jacobian(params, batch)[::-1]


def _definition(rows_of, tasks, balancer):
  """`(state, batch) -> (update, weights)`: Gram matrix by matmul, weights times rows; heads their own gradient."""

  @jax.jit
  def weighed(stats, state):
    if balancer.combine is None:
      shared, (weights, state) = None, balancer.weigh(stats, state)
    else:
      shared, weights, state = balancer.combine(stats, state)
    return shared, weights, balancer.head_weights(weights, state)

  def definition(state, batch):
    count, batch = len(balancer.shares), jax.device_get(batch)
    parts = [jax.tree.map(lambda leaf, i=i: leaf[i::count], batch) for i in range(count)]
    losses, rows = zip(*jax.device_get([rows_of(state.params, part) for part in parts]), strict=True)
    there = np.array([[batch.get(f"m_{task}", np.ones(count))[i::count].any() for task in tasks] for i in range(count)])
    labelled = there * np.array(balancer.shares, np.float32)[:, None]
    shares = labelled / np.maximum(labelled.sum(axis=0), np.float32(1e-9))
    joint = jax.tree.map(lambda *leaves: sum(map(_scaled, shares, leaves)), *rows)
    flat = [
      np.concatenate([leaf.reshape(len(tasks), -1) for leaf in jax.tree.leaves(tree["shared"])], axis=1)
      for tree in (joint, *rows)
    ]
    stats = mtl.balance.Stats(
      (there * np.stack(losses)).sum(axis=0) / np.maximum(there.sum(axis=0), 1).astype(np.float32),
      flat[0] @ flat[0].T,
      flat[1] @ flat[min(2, len(rows))].T,
      joint["shared"],
      there.any(axis=0),
    )
    shared, weights, head_weights = jax.device_get(weighed(stats, state.balancer))
    if shared is None:
      shared = jax.tree.map(lambda r: np.tensordot(weights, r, axes=1), joint["shared"])
    heads = jax.tree.map(lambda r: np.tensordot(head_weights, r, axes=1), joint["task"])
    return jax.tree.map(lambda g: -0.1 * g, {"shared": shared, "task": heads}), weights

  return definition


def _scaled(factors, leaf):
  """Row t times factor t."""
  return factors.reshape(-1, *[1] * (leaf.ndim - 1)) * leaf


def _start(balancer, *, engine=None, **kind):
  """The network of three tasks, and a train state for the balancer."""
  net, tasks, batch, inputs = problem(3, **kind)
  tx = optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(1), inputs=inputs, engine=engine)
  return net, tasks, batch, inputs, state


def _masks(names, size):
  """All tasks; each way in which some have no labels; one whose labels are all in the first half of the batch."""
  rng = np.random.default_rng(0)
  some = rng.uniform(size=(len(names), size)) < 0.7
  for present in itertools.product([True, False], repeat=len(names)):
    if any(present):
      yield np.where(np.array(present)[:, None], some | all(present), False)
  yield np.where(np.arange(len(names))[:, None] == 0, np.arange(size) % 2 == 0, some)


@functools.cache
def _start_of_masked(trunk):
  return _start(mtl.balance.equal(), masked=True, trunk=trunk)


@pytest.mark.parametrize("name", TABLE)
def test_every_method_is_one_program_without_the_host(name):
  """By the engine that `auto` chooses: no callbacks, and a state like the one before, so nothing is compiled twice."""
  net, tasks, batch, _, state = _start_of_masked(Trunk((4,)))
  balancer, tx = TABLE[name].make(3), optax.sgd(0.1)
  state = jax.eval_shape(lambda: state._replace(balancer=balancer.init(3, state.params["shared"])))
  traced = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx)).trace(state, batch)
  found = set(_primitives(traced.jaxpr.eqns))
  assert "dot_general" in found and not [name for name in found if re.search("callback|host|feed|send|recv", name)]
  assert _kinds(traced.out_info[0]) == _kinds(state)


def _primitives(eqns):
  for eqn in eqns:
    yield eqn.primitive.name
    yield from _primitives(inner(eqn))


def _kinds(tree):
  """What `jax.jit` looks at to find the compiled program."""
  return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


@functools.cache
def _rows_of_masked():
  net, tasks, _, inputs, state = _start_of_masked(Trunk())
  return _losses_and_rows(net, tasks, inputs, state.state)


@pytest.mark.parametrize("name", [*KINDS, "moco"])  # which remembers gradients
@pytest.mark.slow
def test_every_engine_follows_the_definition(name):
  """A step of `stacked`, the gradients of all others that serve the method, and of `stacked` in bfloat16."""
  balancer = TABLE[name].make(3)
  net, tasks, batch, _, state = _start(balancer, masked=True)
  first = ENGINES["stacked in turn"]
  engines = [engine for engine in OTHERS if not mtl.engine.missing(engine, balancer)]
  step = mtl.make_train_step(mtl.objective(net, tasks), balancer, optax.sgd(0.1), first)

  @jax.jit
  def program(state, batch):
    plain, low = (
      linearize(
        mtl.objective(net, tasks, compute_dtype=dtype), state.params, state.state, batch, state.key, balancer.shares
      )
      for dtype in (None, jnp.bfloat16)
    )
    found = [
      engine.run(linear, balancer, state.balancer, engine.init(3))[:2]
      for linear, engine in [*((plain, engine) for engine in (first, *engines)), (low, first)]
    ]
    return step(state, batch), found

  definition = _definition(_rows_of_masked(), tasks, balancer)
  for masks in _masks(tasks, 24):
    batch |= {f"m_{task}": mask.astype(np.float32) for task, mask in zip(tasks, masks, strict=True)}
    expected, weights = definition(state, batch)
    (new, metrics), (*found, low) = jax.device_get(program(state, batch))
    stepped = update(state.params, new.params)
    # An update is a difference of parameters, so it carries their rounding: 1e-7 of values ten times its size.
    assert relative_distance(stepped, expected) < 2e-3
    changes = [jax.tree.map(lambda leaf: -0.1 * leaf, gradient) for gradient, _ in found]
    for change in changes:
      assert relative_distance(change, expected["shared"]) < 2e-3
      assert relative_distance(change, changes[0]) < 1e-5
    for each in [[metrics["weights"][task] for task in tasks], *(each for _, each in found)]:
      np.testing.assert_allclose(each, weights, rtol=2e-3, atol=1e-5)
    for task, mask in zip(tasks, masks, strict=True):
      assert bool(metrics["present"][task]) == mask.any()
      assert mask.any() or all(not leaf.any() for leaf in jax.tree.leaves(stepped["task"][task]))
    assert int(new.empty) == int(new.skipped) == 0
    for leaf in jax.tree.leaves(low[0]):
      assert leaf.dtype == np.float32 and np.isfinite(leaf).all()
    if TABLE[name].continuous:  # bfloat16 keeps 8 bits: gradients to about 1 %, weights to a few
      np.testing.assert_allclose(low[1], weights, atol=0.1 * np.abs(weights).max())


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
  last = mtl.balance.mgda()._replace(layers="Dense_1")
  net, tasks, batch, inputs, state = _start(last)

  @jax.jit
  def weights_of(state, batch):
    linear = linearize(mtl.objective(net, tasks), state.params, state.state, batch, None)
    return {name: engine.run(linear, last, state.balancer, ())[1] for name, engine in ENGINES.items()}

  rows = _losses_and_rows(net, tasks, inputs, state.state)(state.params, batch)[1]["shared"]
  gram = mtl.balance.gram({path: leaf for path, leaf in by_path(rows).items() if "Dense_1" in path})
  expected, _ = jax.jit(last.weigh)(mtl.balance.Stats(jnp.ones(3), gram), last.init(3))
  for name, weights in weights_of(state, batch).items():
    np.testing.assert_allclose(weights, expected, atol=1e-4, err_msg=name)
  with pytest.raises(mtl.UserError, match="no shared parameter matches 'Conv': there are Dense_0/bias"):
    one_step(net, tasks, batch, inputs, last._replace(layers="Conv"), ENGINES["gram"])


def test_a_batch_that_cannot_be_halved_is_an_error():
  net, tasks, batch, inputs = problem(2, batch=9)
  with pytest.raises(mtl.UserError, match="a batch of 9 examples cannot be, choose a multiple of 2"):
    one_step(net, tasks, batch, inputs, mtl.balance.mgda()._replace(shares=(0.5, 0.5)), None)


@pytest.mark.parametrize(
  "kind", [dict(trunk=ConvTrunk()), dict(cut=False), dict(own_inputs=True)], ids=["conv", "uncut", "own inputs"]
)
@pytest.mark.slow
def test_engines_agree_on_every_kind_of_net(kind):
  balancer, tx = mtl.balance.mgda(), optax.sgd(0.1)
  net, tasks, batch, inputs, state = _start(balancer, **kind)
  objective = mtl.objective(net, tasks, inputs)
  steps = {name: mtl.make_train_step(objective, balancer, tx, engine) for name, engine in ENGINES.items()}
  found = jax.jit(lambda state, batch: {name: step(state, batch)[0].params for name, step in steps.items()})
  expected, _ = _definition(_losses_and_rows(net, tasks, inputs, state.state), tasks, balancer)(state, batch)
  for name, params in found(state, batch).items():
    assert relative_distance(update(state.params, params), expected) < 2e-3, name


def test_losses_engine_equals_the_gradient_of_the_weighted_sum():
  balancer = mtl.balance.constant([0.5, 2.0, 0.0])
  net, tasks, batch, inputs, state = _start(balancer)
  before, after, _ = one_step(net, tasks, batch, inputs, balancer, mtl.engine.losses())
  expected, _ = _definition(_losses_and_rows(net, tasks, inputs, state.state), tasks, balancer)(state, batch)
  assert relative_distance(update(before, after), expected) < 1e-4
  assert relative_distance(after["task"]["t2"], before["task"]["t2"]) == 0.0  # weight 0: the head stays


@pytest.mark.slow
def test_objective_may_be_any_function():
  def losses(params, state, batch, key):
    w = params["shared"]
    return {"a": jnp.sum((w - 1.0) ** 2), "b": jnp.sum((w + 1.0) ** 2) * params["task"]["b"]}, {"state": state}

  params = {"shared": jnp.zeros(3), "task": {"a": jnp.ones(()), "b": jnp.ones(())}}
  tx, balancer = optax.sgd(0.1), mtl.balance.mgda()
  state = mtl.TrainState(
    jnp.int32(0), params, {}, tx.init(params), balancer.init(2), (), jax.random.key(0),
    jnp.int32(0), jnp.zeros(2, jnp.int32), jnp.int32(-1),
  )  # fmt: skip
  steps = [mtl.make_train_step(losses, balancer, tx, engine) for engine in ENGINES.values()]
  results = jax.jit(lambda state: [step(state, None)[0].params for step in steps])(state)
  for result in results:
    np.testing.assert_allclose(result["shared"], 0.0, atol=1e-6)  # opposite gradients: Pareto stationary
    np.testing.assert_allclose(result["task"]["b"], 1.0 - 0.1 * 3.0, rtol=1e-6)


@pytest.mark.slow
def test_gram_in_bfloat16_compute_is_float32():
  balancer, tx = mtl.balance.mgda(), optax.sgd(0.1)
  net, tasks, batch, _, state = _start(balancer)
  exact, low = (mtl.objective(net, tasks, compute_dtype=dtype) for dtype in (None, jnp.bfloat16))
  steps = [mtl.make_train_step(exact, balancer, tx, ENGINES["gram"])]
  steps += [mtl.make_train_step(low, balancer, tx, ENGINES[name]) for name in ("gram", "stacked at once")]
  (_, expected), *found = jax.jit(lambda state, batch: [step(state, batch) for step in steps])(state, batch)
  for new, metrics in found:
    assert {leaf.dtype for leaf in jax.tree.leaves(new.params)} == {jnp.dtype("float32")}
    for task in tasks:  # bfloat16 keeps 8 bits: gradients to about 1 %
      assert abs(float(metrics["weights"][task]) - float(expected["weights"][task])) < 0.05


def test_an_engine_says_what_it_cannot_serve():
  net, tasks, _, _ = problem(2)
  with pytest.raises(mtl.UserError, match="engine 'losses' cannot serve this balancer: it needs gram"):
    mtl.make_train_step(mtl.objective(net, tasks), mtl.balance.pcgrad(), optax.sgd(1.0), mtl.engine.losses())


@pytest.mark.slow
def test_layers_add_no_cotangents_of_all_tasks():
  """T = 8, batch 256, layers of 64 and 96 by turns: two more add less than the T cotangents of one."""

  def temp(layers):
    net, tasks, batch, _ = problem(8, trunk=Trunk((64, 96) * (layers // 2)), batch=256, features=16)
    return temporary_memory(net, tasks, batch, mtl.engine.gram())

  assert temp(6) - temp(4) < 8 * 4 * 256 * 64


@pytest.mark.slow
def test_gram_keeps_one_leaf_of_rows_and_stacked_keeps_all():
  """T = 10, MLP 256-1024x4, batch 256: `gram`'s temporary memory is under 60 % of `stacked`'s."""
  net, tasks, batch, _ = problem(10, trunk=Trunk((1024,) * 4), batch=256, features=256)
  rows = 10 * 4 * (256 * 1024 + 3 * 1024 * 1024)
  stacked, gram = (temporary_memory(net, tasks, batch, engine) for engine in (mtl.engine.stacked(), mtl.engine.gram()))
  assert stacked > rows
  assert gram < 0.6 * stacked
