"""Steps in which some or all tasks have no labels: who moves, who stays, what is counted."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from tests.engine._problem import problem

PER_HEAD = optax.multi_transform(
  {"trunk": optax.adam(1e-2), "a": optax.adamw(1e-2), "b": optax.sgd(1e-2, momentum=0.9)},
  {"shared": "trunk", "task": {"t0": "a", "t1": "b"}},
)


def setup(tx, *, balancer=None, num_tasks=2, **options):
  net, tasks, batch, _ = problem(num_tasks, masked=True)
  balancer = mtl.balance.mgda() if balancer is None else balancer
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0))
  return jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, **options)), state, batch


def without(batch, *tasks):
  return batch | {f"m_{task}": jnp.zeros_like(batch[f"m_{task}"]) for task in tasks}


def same(a, b):
  return [bool((x == y).all()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]


def moments(state, task):
  """The optimizer's arrays for a head."""
  found = jax.tree_util.tree_leaves_with_path(state.opt_state)
  return [leaf for path, leaf in found if f"['task']['{task}']" in jax.tree_util.keystr(path)]


@pytest.mark.parametrize("tx", [optax.adam(1e-2), PER_HEAD], ids=["adam", "per head"])
@pytest.mark.slow
def test_the_head_of_an_absent_task_and_its_moments_stay(tx):
  step, state, batch = setup(tx)
  for _ in range(3):
    state, _ = step(state, batch)
  before = state
  for _ in range(50):
    state, metrics = step(state, without(batch, "t1"))
  assert moments(state, "t1") and all(same(moments(state, "t1"), moments(before, "t1")))
  assert all(same(state.params["task"]["t1"], before.params["task"]["t1"]))
  assert not any(same(state.params["shared"], before.params["shared"]))
  assert not any(same(state.params["task"]["t0"], before.params["task"]["t0"]))
  assert float(metrics["weights"]["t0"]) == 1.0 and float(metrics["weights"]["t1"]) == 0.0
  assert bool(metrics["present"]["t0"]) and not bool(metrics["present"]["t1"])


def test_with_the_old_way_the_optimizer_moves_an_absent_head():
  step, state, batch = setup(optax.adam(1e-2), freeze_absent=False)
  for _ in range(3):
    state, _ = step(state, batch)
  before = state.params["task"]["t1"]
  for _ in range(50):
    state, _ = step(state, without(batch, "t1"))
  distance = optax.tree.norm(optax.tree.sub(state.params["task"]["t1"], before)) / optax.tree.norm(before)
  assert distance > 0.02


@pytest.mark.parametrize("nonfinite", ["stop", "ignore"])
@pytest.mark.slow
def test_a_step_without_labels_changes_nothing_and_is_counted(nonfinite):
  step, state, batch = setup(optax.adam(1e-2), balancer=mtl.balance.famo(), nonfinite=nonfinite)
  state, _ = step(state, batch)
  before = state._replace(step=None, key=None, empty=None)
  state, metrics = step(state, without(batch, "t0", "t1"))
  assert all(same(state._replace(step=None, key=None, empty=None), before))
  assert int(state.empty) == 1 and int(state.skipped) == 0 and int(state.step) == 2
  state, _ = step(state, batch)  # and it goes on
  assert int(state.empty) == 1 and not any(same(state.params, before.params))
  assert [float(w) for w in metrics["weights"].values()] == [0.0, 0.0]


@pytest.mark.parametrize("name", ["famo", "db", "stch", "scale_invariant", "mgda"])
@pytest.mark.slow
def test_tasks_that_take_turns_all_learn(name):
  """90 steps, each with labels of one task; none is skipped, and weights stay in bounds.

  One method of each kind: losses after the update, rows, a warm-up, logarithms, G. Every one: balance/test_present.py.
  """
  balancer = mtl.balance.stch(warmup=30, window=10) if name == "stch" else getattr(mtl.balance, name)()
  step, state, batch = setup(optax.adam(1e-2), balancer=balancer, num_tasks=3)
  first, last = {}, {}
  for i in range(90):
    present = f"t{i % 3}"
    state, metrics = step(state, without(batch, *({"t0", "t1", "t2"} - {present})))
    first.setdefault(present, float(metrics["losses"][present]))
    last[present] = float(metrics["losses"][present])
    assert 0 < float(metrics["weights"][present]) < 1e4
  assert int(state.skipped) == int(state.empty) == 0
  assert all(last[task] < 0.9 * first[task] for task in first), (first, last)


@pytest.mark.slow
def test_any_function_may_say_who_is_present():
  def losses(params, state, batch, key):
    w = params["shared"]
    found = {"a": jnp.sum((w - 1.0) ** 2), "b": batch["there"] * jnp.sum((w + 1.0) ** 2)}
    return found, {"state": state, "present": {"b": batch["there"] > 0}}

  params = {"shared": jnp.zeros(3), "task": {"a": {}, "b": {}}}
  tx, balancer = optax.sgd(0.1), mtl.balance.mgda()
  zero = jnp.int32(0)
  state = mtl.TrainState(
    zero, params, {}, tx.init(params), balancer.init(2), (), jax.random.key(0), zero, jnp.zeros(2, jnp.int32), zero - 1
  )
  engines = (mtl.engine.stacked(), mtl.engine.gram(), mtl.engine.every(2))

  @jax.jit
  def steps(state, batch):
    return [
      mtl.make_train_step(losses, balancer, tx, engine)(state._replace(engine=engine.init(2)), batch)
      for engine in engines
    ]

  for new, metrics in steps(state, {"there": jnp.zeros(())}):
    np.testing.assert_allclose(new.params["shared"], 0.2, rtol=1e-6)  # a alone
    assert [float(w) for w in metrics["weights"].values()] == [1.0, 0.0]


def test_weights_of_every_k_steps_wait_for_the_task():
  """b has labels in steps 2 and 3 only; weights are found in steps 1 and 4."""
  engine = mtl.engine.every(3, mtl.engine.losses())
  net, tasks, batch, _ = problem(2, masked=True)
  tx, balancer = optax.sgd(0.1), mtl.balance.constant([2.0, 3.0])
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=engine)
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine))
  found = []
  for here in (without(batch, "t1"), batch, batch, batch):
    state, metrics = step(state, here)
    found.append([float(w) for w in metrics["weights"].values()])
  assert found == [[2.0, 0.0], [2.0, 1.0], [2.0, 1.0], [2.0, 3.0]]


def test_optimizers_get_the_value_of_the_loss():
  tx = optax.chain(optax.sgd(1.0), optax.contrib.reduce_on_plateau(factor=0.5, patience=1, rtol=0.9))
  step, state, batch = setup(tx, balancer=mtl.balance.constant([1.0, 0.5]))
  state, metrics = step(state, batch)
  expected = float(metrics["losses"]["t0"]) + 0.5 * float(metrics["losses"]["t1"])
  np.testing.assert_allclose(state.opt_state[1].best_value, expected, rtol=1e-5)
  polyak, state, _ = setup(optax.polyak_sgd(max_learning_rate=0.1))
  assert np.isfinite(float(polyak(state, batch)[1]["grad_norm"]))


def test_an_optimizer_with_a_line_search_is_an_error():
  step, state, batch = setup(optax.lbfgs())
  with pytest.raises(mtl.UserError, match="the optimizer needs 'value_fn', which the train step does not give"):
    step(state, batch)
