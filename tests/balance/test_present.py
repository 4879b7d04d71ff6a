"""Absent tasks: the others get what the method gives them alone, absent ones weigh 0 and keep their state."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from mtl_jax.balance.serving import combine
from tests.balance._matrices import hostile, initial, losses, repeated, run, well_posed
from tests.balance._table import KINDS, TABLE

TASKS = 4
# Two steps with all labels, then one with some, in which so many gradients conflict that the order of tasks matters.
J, LOSSES = well_posed(5)[:3, :TASKS], losses(5)[:3, :TASKS]


@functools.cache
def masked(name):
  """A step of the method from one state with each of many sets of tasks present, (N, T)."""
  balancer = TABLE[name].make(TASKS)

  def step(j, task_losses, state, present):
    j, task_losses = jnp.where(present[:, None], j, 0.0), jnp.where(present, task_losses, 0.0)
    parts = len(balancer.shares)
    rows = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * parts), {"early": j[:, :4], "late": j[:, 4:]})
    update, weights, state = combine(balancer, rows, task_losses, state, present=jnp.tile(present, (parts, 1)))
    return jnp.concatenate([update["early"], update["late"]]), weights, state

  return jax.jit(jax.vmap(step, in_axes=(None, None, None, 0)))


def is_key(leaf):
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def plain(tree):
  """The leaves as numpy arrays, keys as their data."""
  return [np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in jax.tree.leaves(tree)]


def after_two_steps(name, present):
  """The method's state after two steps with all tasks."""
  state = initial(TABLE[name].make(TASKS), TASKS)
  for j, task_losses in zip(J[:2], LOSSES[:2], strict=True):
    states = masked(name)(j, task_losses, state, np.ones_like(present))[2]
    state = jax.tree.map(lambda leaf: leaf[0] if is_key(leaf) else np.asarray(leaf)[0], states)
  return state


def task_axes(name):
  """For each leaf of the method's state the axes that grow with the tasks."""
  some, more = (jax.eval_shape(lambda t=t: initial(TABLE[name].make(t), t)) for t in (TASKS, TASKS + 1))
  pairs = zip(jax.tree.leaves(some), jax.tree.leaves(more), strict=True)
  return [[axis for axis, (a, b) in enumerate(zip(s.shape, m.shape, strict=True)) if a != b] for s, m in pairs]


def of_tasks(leaf, axes, tasks):
  """A leaf of a state for some of the tasks."""
  for axis in axes:
    leaf = np.take(leaf, tasks, axis)
  return leaf


def alone(name, state, axes, which):
  """The last step of the method on each of some sets of tasks, (n, t), alone, from what the state holds of them."""
  size = which.shape[1]
  which = which[np.arange(len(hostile(size))) % len(which)]  # as many as `run` is compiled for
  leaves, structure = jax.tree.flatten(state)
  states = [
    np.stack([of_tasks(leaf, own, some) for some in which])
    if own
    else jnp.broadcast_to(leaf, (len(which), *leaf.shape))
    for leaf, own in zip(leaves, axes, strict=True)
  ]
  return run(name, J[2][which], LOSSES[2][which], jax.tree.unflatten(structure, states))


# A constant weight belongs to its task: see test_constant.py.
@pytest.mark.parametrize("name", [name for name in TABLE if name != "constant"])
@pytest.mark.slow
def test_present_tasks_get_what_they_get_alone(name):
  """All sets of tasks but that of all."""
  method, axes = TABLE[name], task_axes(name)
  which = [list(some) for size in range(method.least, TASKS) for some in itertools.combinations(range(TASKS), size)]
  which = [some for some in which if not method.main or 0 in some]
  present = np.array([[task in some for task in range(TASKS)] for some in which])
  before = after_two_steps(name, present)
  updates, weights, after = masked(name)(J[2], LOSSES[2], before, present)
  before_, after_, weights, updates = plain(before), plain(after), np.asarray(weights), np.asarray(updates)
  for size in {len(some) for some in which}:
    places = [i for i, some in enumerate(which) if len(some) == size]
    own_updates, own_weights, own_after = alone(name, before, axes, np.array([which[i] for i in places]))
    own_after = plain(own_after)
    for row, i in enumerate(places):
      there, absent = which[i], [task for task in range(TASKS) if task not in which[i]]
      np.testing.assert_allclose(weights[i, there], own_weights[row], rtol=1e-3, atol=1e-4, err_msg=f"{there}")
      scale = np.abs(own_weights[row]) @ np.linalg.norm(J[2][there], axis=1)
      np.testing.assert_allclose(updates[i], own_updates[row], rtol=0, atol=1e-4 * scale, err_msg=f"{there}")
      assert all(weights[i, absent] == 0)
      for new, old, alike, own in zip(after_, before_, own_after, axes, strict=True):
        found = of_tasks(new[i], own, there)
        np.testing.assert_allclose(found, alike[row], rtol=1e-3, atol=1e-4, err_msg=f"{there}")
        if own:  # to the bit
          np.testing.assert_array_equal(of_tasks(new[i], own, absent), of_tasks(old, own, absent), err_msg=f"{there}")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.slow
def test_all_tasks_present_is_as_without_a_word_of_it(name):
  """A method is told the same either way, so one of each kind shows it."""
  present = np.ones((14, TASKS), bool)  # as many as above
  before = after_two_steps(name, present)
  found = masked(name)(J[2], LOSSES[2], before, present)
  count = len(hostile(TASKS))
  expected = run(name, np.stack([J[2]] * count), np.stack([LOSSES[2]] * count), repeated(before, count))
  for a, b in zip(plain(found), plain(expected), strict=True):
    np.testing.assert_allclose(a[0], b[0], rtol=1e-4, atol=1e-5)


def test_pcd_and_metabalance_without_their_main_task():
  gram, present = jnp.asarray(J[2][:3] @ J[2][:3].T).at[0].set(0.0).at[:, 0].set(0.0), jnp.array([False, True, True])
  stats = Stats(jnp.ones(3), gram, present=present)
  pcd, metabalance = mtl.balance.pcd(), mtl.balance.metabalance(relax=1.0)
  weigh = jax.jit(metabalance.weigh)
  assert jax.jit(pcd.weigh)(stats, pcd.init(3))[0].tolist() == [0.0, 0.0, 0.0]  # nothing to serve
  assert weigh(stats, metabalance.init(3))[0].tolist() == [0.0, 1.0, 1.0]  # nothing to compare with yet
  _, state = weigh(stats._replace(gram=4.0 * jnp.eye(3), present=jnp.ones(3, bool)), metabalance.init(3))
  weights, state = weigh(stats, state)
  np.testing.assert_allclose(weights[1:], 0.2 / state[1:], rtol=1e-5)  # against the average that the main task had


@pytest.mark.parametrize(
  ("name", "right"),
  [("uncertainty", [0.5, 0.5]), ("imtl_l", [1.0, 1.0]), ("gradnorm", [1.0, 1.0]), ("dwa", [1.0, 1.0])],
)
def test_losses_of_1_weigh_alike_however_seldom_they_are_seen(name, right):
  """Task b has labels in every 10th batch, and no loss where it has none."""
  balancer = mtl.balance.dwa(window=20) if name == "dwa" else getattr(mtl.balance, name)(learning_rate=0.05)

  def one(carry, step):
    state, last = carry
    present = jnp.stack([jnp.ones((), bool), step % 10 == 0])
    there = present.astype(jnp.float32)
    weights, state = balancer.weigh(Stats(there, jnp.diag(there), present=present), state)
    return (state, jnp.where(present, weights, last)), None

  (_, weights), _ = jax.lax.scan(one, (balancer.init(2), jnp.ones(2)), jnp.arange(3000))
  np.testing.assert_allclose(weights, right, rtol=0.02)


def test_a_nadir_is_found_when_the_first_labels_come():
  balancer = mtl.balance.stch(warmup=2, window=1)
  state = balancer.init(2)
  for _ in range(3):
    _, state = balancer.weigh(Stats(jnp.array([2.0, 0.0]), present=jnp.array([True, False])), state)
  weights, _ = balancer.weigh(Stats(jnp.array([2.0, 5.0])), state)
  np.testing.assert_allclose(weights, [0.5, 0.2], rtol=1e-5)  # both where they began: 2 softmax(0, 0) / l


def test_learning_by_the_losses_of_the_next_step_skips_steps_without_labels():
  balancer = mtl.balance.famo(lazy=True)
  _, state = balancer.weigh(Stats(jnp.array([1.0, 1.0])), balancer.init(2))
  _, gone = balancer.weigh(Stats(jnp.array([0.5, 0.0]), present=jnp.array([True, False])), state)
  _, back = balancer.weigh(Stats(jnp.array([0.5, 0.5])), gone)
  assert np.isfinite(back.logits.value).all()
  np.testing.assert_allclose(gone.last, [np.log(0.5), 0.0], atol=1e-6)
  assert float(back.logits.value[1]) < float(gone.logits.value[1]) == 0.0  # the loss of b fell: it weighs less
