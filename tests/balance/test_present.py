"""Absent tasks: the others get what the method gives them alone, absent ones weigh 0 and keep their state."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from mtl_jax.balance.serving import combine
from tests.balance._matrices import initial, losses, well_posed
from tests.balance._table import TABLE

J, LOSSES = well_posed(5)[:3], losses(5)[:3]  # two steps with all labels, then one with some
# At its own rate of 5 SDMGrad's inner steps jump between vertices, and make 1e-4 of rounding of 1e-7.
METHODS = TABLE | {"sdmgrad": TABLE["sdmgrad"]._replace(make=lambda t: mtl.balance.sdmgrad(learning_rate=0.5))}


def subsets(tasks):
  return [list(some) for size in range(1, tasks + 1) for some in itertools.combinations(range(tasks), size)]


def step(balancer, j, task_losses, state, present=None):
  rows = {"early": j[:, :4], "late": j[:, 4:]}
  parts = len(balancer.shares)
  rows = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * parts), rows)
  present = None if present is None else jnp.tile(present, (parts, 1))
  update, weights, state = combine(balancer, rows, task_losses, state, present=present)
  return jnp.concatenate([update["early"], update["late"]]), weights, state


def task_axes(more, fewer):
  """For each leaf of a state the axes that grow with the tasks."""
  pairs = zip(jax.tree.leaves(more), jax.tree.leaves(fewer), strict=True)
  return [[axis for axis, (a, b) in enumerate(zip(m.shape, f.shape, strict=True)) if a != b] for m, f in pairs]


def plain(tree):
  """The leaves as numpy arrays, keys as their data."""
  is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
  return [np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in jax.tree.leaves(tree)]


def of_tasks(leaves, axes, tasks):
  """The leaves of a state for some of the tasks."""
  for axis in range(max(map(len, axes), default=0)):
    leaves = [np.take(leaf, tasks, own[axis]) if own[axis:] else leaf for leaf, own in zip(leaves, axes, strict=True)]
  return leaves


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.slow
def test_present_tasks_get_what_they_get_alone(name, tasks=4):
  method = METHODS[name]
  j, task_losses = jnp.asarray(J[:, :tasks]), jnp.asarray(LOSSES[:, :tasks])
  balancer, start = method.make(tasks), initial(method.make(tasks), tasks)
  axes = task_axes(start, initial(method.make(tasks + 1), tasks + 1))

  @jax.jit
  def after_two_steps(state):
    return step(balancer, j[1], task_losses[1], step(balancer, j[0], task_losses[0], state)[2])[2]

  before = after_two_steps(start)

  def masked(state, present):
    rows = jnp.where(present[:, None], j[2], 0.0)
    return step(balancer, rows, jnp.where(present, task_losses[2], 0.0), state, present)

  which = [some for some in subsets(tasks) if len(some) >= method.least and (not method.main or 0 in some)]
  present = np.array([[task in some for task in range(tasks)] for some in which])
  updates, weights, after = jax.jit(jax.vmap(masked, in_axes=(None, 0)))(before, present)

  def alone(state, some):
    own = method.make(len(some)) if method.among is None else method.among(some)
    return step(own, j[2][some], task_losses[2][some], state)

  before_, after_, weights, updates = plain(before), plain(after), np.asarray(weights), np.asarray(updates)
  for size in {len(some) for some in which}:
    places = [i for i, some in enumerate(which) if len(some) == size]
    chosen = np.array([which[i] for i in places])
    leaves, structure = jax.tree.flatten(before)
    taken = [  # one state per subset
      leaf if not own else jnp.stack([_take(leaf, own, some) for some in chosen])
      for leaf, own in zip(leaves, axes, strict=True)
    ]
    mapped = jax.tree.unflatten(structure, [0 if own else None for own in axes])
    found = jax.jit(jax.vmap(alone, in_axes=(mapped, 0)))(jax.tree.unflatten(structure, taken), chosen)
    own_updates, own_weights, own_after = np.asarray(found[0]), np.asarray(found[1]), plain(found[2])
    for row, i in enumerate(places):
      there, absent = which[i], [task for task in range(tasks) if task not in which[i]]
      np.testing.assert_allclose(weights[i, there], own_weights[row], rtol=1e-3, atol=1e-4, err_msg=f"{there}")
      scale = np.abs(own_weights[row]) @ np.linalg.norm(J[2][there], axis=1)
      np.testing.assert_allclose(updates[i], own_updates[row], rtol=0, atol=1e-4 * scale, err_msg=f"{there}")
      assert all(weights[i, absent] == 0)
      old, new = before_, [leaf[i] for leaf in after_]
      for a, b in zip(of_tasks(new, axes, there), own_after, strict=True):
        np.testing.assert_allclose(a, b[row], rtol=1e-3, atol=1e-4, err_msg=f"{there}")
      for a, b, own in zip(of_tasks(new, axes, absent), of_tasks(old, axes, absent), axes, strict=True):
        if own:  # to the bit
          np.testing.assert_array_equal(a, b, err_msg=f"{there}")


def _take(leaf, axes, some):
  for axis in axes:
    leaf = jnp.take(leaf, jnp.asarray(some), axis=axis)
  return leaf


def test_pcd_and_metabalance_without_their_main_task():
  gram, present = jnp.asarray(J[2][:3] @ J[2][:3].T).at[0].set(0.0).at[:, 0].set(0.0), jnp.array([False, True, True])
  stats = Stats(jnp.ones(3), gram, present=present)
  pcd, metabalance = mtl.balance.pcd(), mtl.balance.metabalance(relax=1.0)
  assert pcd.weigh(stats, pcd.init(3))[0].tolist() == [0.0, 0.0, 0.0]  # nothing to serve
  assert metabalance.weigh(stats, metabalance.init(3))[0].tolist() == [0.0, 1.0, 1.0]  # nothing to compare with yet
  _, state = metabalance.weigh(Stats(jnp.ones(3), 4.0 * jnp.eye(3)), metabalance.init(3))
  weights, state = metabalance.weigh(stats, state)
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
