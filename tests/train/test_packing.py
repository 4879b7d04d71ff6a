"""Heads of many equal tasks in one tree: what a train state, an optimizer, a checkpoint and a user make of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._core.packed import FROM, is_packed

NAMES = [f"t{i:02d}" for i in range(FROM)]
NET = mtl.arch.hard_sharing(
  mtl.from_linen(mtl.nn.MLP((), 4)), {name: mtl.from_linen(mtl.nn.MLP((3,), 1)) for name in NAMES}
)
TASKS = {name: mtl.tasks.regression(name, mask=f"m{name}") for name in NAMES}


def data(size=12):
  rng = np.random.default_rng(0)
  labels = {name: rng.normal(size=size).astype(np.float32) for name in NAMES}
  masks = {f"m{name}": np.ones(size, np.float32) for name in NAMES}
  return {"x": rng.normal(size=(size, 5)).astype(np.float32), **labels, **masks}


def test_each_of_many_heads_is_made_of_its_own_key():
  """As few heads are, one by one, of the keys behind the trunk's."""
  x = jnp.asarray(data()["x"])
  params, _ = NET.init(jax.random.key(0), x)
  head, features = mtl.from_linen(mtl.nn.MLP((3,), 1)), jnp.ones((12, 4))
  keys = jax.random.split(jax.random.key(0), 1 + FROM)
  for place in (0, FROM - 1):
    alone, _ = head.init(keys[1 + place], features)
    jax.tree.map(np.testing.assert_array_equal, params["task"][NAMES[place]], alone)


def by_name(params):
  """A label for each parameter: of the first task's head, or another."""
  label = lambda path, _: "first" if NAMES[0] in jax.tree_util.keystr(path) else "rest"  # noqa: E731
  return jax.tree_util.tree_map_with_path(label, params)


def heads(tx, **options):
  state = mtl.init_train_state(NET, TASKS, mtl.balance.equal(), tx, data(), jax.random.key(0), **options)
  return state.params["task"]


@pytest.mark.parametrize("tx", [optax.adam(0.1), optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, 0.9))])
def test_heads_are_packed_where_the_optimizer_sees_numbers(tx):
  found = heads(tx)
  assert is_packed(found) and len(jax.tree.leaves(found)) == 4
  apart = NET.init(jax.random.split(jax.random.key(0))[0], jnp.asarray(data()["x"]))[0]["task"]
  for name in NAMES:
    jax.tree.map(np.testing.assert_array_equal, found[name], apart[name])


@pytest.mark.parametrize(
  "tx",
  [
    optax.lamb(0.1),  # norms of leaves
    optax.adamw(0.1, mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)),  # ranks
    optax.multi_transform({"first": optax.sgd(0.1), "rest": optax.sgd(0.2)}, lambda params: by_name(params)),
  ],
)
def test_heads_stay_apart_where_it_looks_at_leaves(tx):
  assert not is_packed(heads(tx))


@pytest.mark.parametrize(("frozen", "expected"), [("task/t0[0-3]", [12, *[1] * 4]), ("/Dense_0/", [FROM])])
def test_heads_that_are_frozen_otherwise_stay_apart(frozen, expected):
  found = heads(optax.sgd(0.1), frozen=frozen)
  sizes = [len(group) for group in found.groups] if is_packed(found) else [1] * FROM
  assert sorted(sizes) == sorted(expected if 12 not in expected else [1] * FROM)


@pytest.mark.slow
def test_a_run_on_packed_heads_ends_as_one_apart(tmp_path, monkeypatch):
  """Absent tasks too: half of them have no labels in the first half of the steps."""
  arrays = data()
  for name in NAMES[::2]:
    arrays[f"m{name}"][:6] = 0.0
  options = {"steps": 6, "batch_size": 3, "valid": arrays, "progress": False}
  one = mtl.fit(NET, TASKS, mtl.balance.dwa(), optax.adam(0.1), arrays, run_dir=tmp_path / "run", **options)
  monkeypatch.setattr("mtl_jax.train._state.pack_heads", lambda net, tasks, keys, params, state, *_: (params, state))
  other = mtl.fit(NET, TASKS, mtl.balance.dwa(), optax.adam(0.1), arrays, **options)
  assert is_packed(one.state.params["task"]) and not is_packed(other.state.params["task"])
  assert type(one.params["task"]) is dict and one.params["task"].keys() == set(NAMES)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5), one.params, other.params)
  for a, b in zip(one.history, other.history, strict=True):
    assert a.keys() == b.keys()
  trained = mtl.load(tmp_path / "run", NET, TASKS)
  jax.tree.map(np.testing.assert_array_equal, trained.params, one.params)


def test_evaluation_of_many_is_that_of_each():
  arrays, (params, state) = data(20), NET.init(jax.random.key(0), jnp.ones((1, 5)))
  found = mtl.train.make_evaluate(NET, TASKS, batch_size=8)(params, state, arrays)
  predicted = mtl.train.predict_all(NET, TASKS, params, state, {"x": arrays["x"]}, batch_size=8)
  for name in NAMES[::5]:
    prediction = NET.apply(params, state, jnp.asarray(arrays["x"]))[0][name][:, 0]
    error = np.asarray(prediction) - arrays[name]
    np.testing.assert_allclose(predicted[name]["value"], prediction, rtol=1e-5)
    np.testing.assert_allclose(found[name]["rmse"], np.sqrt(np.mean(error**2)), rtol=1e-5)
    spread = np.sum((arrays[name] - arrays[name].mean()) ** 2)
    np.testing.assert_allclose(found[name]["r2"], 1 - np.sum(error**2) / spread, rtol=1e-4)
  assert list(found) == NAMES and list(found["t00"]) == ["r2", "mae", "rmse", "loss"]
