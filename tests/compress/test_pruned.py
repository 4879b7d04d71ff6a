"""Weights that are set to zero while a net trains: how many, which, and that they stay so, whatever trains it."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import UserError
from mtl_jax._core.packed import packed, unpacked
from mtl_jax._core.paths import by_path
from mtl_jax.compress import pruned, sparsity_at, zeros
from mtl_jax.train._rollback import slowable
from tests.train._run import TASKS, arrays, digest
from tests.train._run import Trunk as WithMemory

rng = np.random.default_rng(0)
PARAMS = {
  "shared": {"kernel": rng.normal(size=(7, 9)), "bias": rng.normal(size=(3, 9)), "norm": rng.normal(size=9)},
  "task": {f"t{i}": {"kernel": rng.normal(size=(4, 5))} for i in range(4)},
}
PARAMS = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), PARAMS)
GRADS = jax.tree.map(lambda leaf: jnp.cos(9 * leaf), PARAMS)


def train(tx, params, grads, steps, each=lambda step, params, state: None):
  """Trains, and looks at each step."""

  @jax.jit
  def update(params, state):
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  with jax.numpy_dtype_promotion("standard"):
    state = tx.init(params)
    for step in range(steps):
      params, state = update(params, state)
      each(step + 1, params, state)
  return params, state


@pytest.mark.parametrize(("begin", "end", "every"), [(0, 7, 1), (3, 20, 4), (5, 6, 10)])
def test_the_schedule_is_the_papers(begin, end, every):
  for n in range(end + 5):
    pulse = begin + (n - begin) // every * every
    cubic = 0.0 if n < begin else 0.9 + (0.0 - 0.9) * (1 - (pulse - begin) / (end - begin)) ** 3
    expected = 0.9 if n >= end else cubic
    assert float(sparsity_at(0.9, begin, end, every)(n)) == pytest.approx(expected, abs=1e-6)


def test_the_share_of_zeros_is_exact_and_the_smallest_are_zero():
  seen = {}
  tx = pruned(optax.sgd(0.0), 0.8, begin=2, end=10, every=3)
  after, _ = train(tx, PARAMS, GRADS, 12, lambda n, p, s: seen.update({n: zeros(p)["shared/kernel"]}))
  for n, share in seen.items():
    wanted = round(0.8 * 63) if n >= 10 else np.floor(float(sparsity_at(0.8, 2, 10, 3)(n)) * 63 + 0.5)
    assert share * 63 == pytest.approx(wanted)
  kernel, before = np.asarray(after["shared"]["kernel"]), np.abs(np.asarray(PARAMS["shared"]["kernel"]))
  assert np.sum(kernel == 0) == 50 and before[kernel == 0].max() < before[kernel != 0].min()
  rest = {path: share for path, share in zeros(after).items() if path != "shared/kernel"}
  assert rest == dict.fromkeys(rest, 0.0) and "shared/bias" in rest


def test_ties_and_zeros_do_not_change_the_share():
  params = {"shared": {"one": jnp.ones((10, 10)), "none": jnp.zeros((10, 10))}, "task": {}}
  after, state = train(pruned(optax.sgd(0.1), 0.3, end=1), params, jax.tree.map(jnp.zeros_like, params), 2)
  assert zeros(after) == {"shared/one": 0.3, "shared/none": 1.0}
  assert {path: int(jnp.sum(~kept)) for path, kept in by_path(state.kept).items()} == dict.fromkeys(
    ("shared/none", "shared/one"), 30
  )


@pytest.mark.parametrize(
  "inner",
  [optax.adamw(0.1, weight_decay=0.1), optax.sgd(0.1, momentum=0.9), optax.noisy_sgd(0.1, key=0)],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_zeros_stay_zero_whatever_moves_weights(inner, dtype):
  masks = []
  params, grads = (jax.tree.map(lambda leaf: leaf.astype(dtype), tree) for tree in (PARAMS, GRADS))
  look = lambda n, p, s: masks.append(np.asarray(p["shared"]["kernel"] == 0))  # noqa: E731
  train(pruned(inner, 0.75, begin=1, end=6), params, grads, 9, look)
  assert all((old <= new).all() for old, new in zip(masks, masks[1:], strict=False))
  assert masks[0].sum() == 0 and [mask.sum() for mask in masks[5:]] == [round(0.75 * 63)] * 4


def test_the_optimizer_sees_no_gradient_of_zeros():
  tx = pruned(optax.adam(0.1, b1=0.0), 0.5, end=1)
  params, state = train(tx, PARAMS, GRADS, 3)
  dead, moment = np.asarray(params["shared"]["kernel"]) == 0, state.inner[0].mu["shared"]["kernel"]
  assert (np.asarray(moment)[dead] == 0).all() and (np.asarray(moment)[~dead] != 0).all()


def test_heads_in_one_tree_are_pruned_each_by_itself():
  def found(params, grads):
    return unpacked(train(pruned(optax.adamw(0.1), 0.55, end=3, parts=["task/t[123]/"]), params, grads, 4)[0])

  def together(tree):
    return tree | {"task": packed(tree["task"], [("t0", "t1", "t2"), ("t3",)])}

  apart, one = found(PARAMS, GRADS), found(together(PARAMS), together(GRADS))
  jax.tree.map(np.testing.assert_array_equal, apart, one)
  assert zeros(apart)["task/t0/kernel"] == 0 and zeros(apart)["task/t3/kernel"] == 0.55


def test_a_lower_rate_after_a_rollback_leaves_zeros_zero():
  tx = slowable(pruned(optax.adamw(0.1), 0.5, end=3))

  def init(params):
    *inner, factor = tx.init(params)
    return (*inner, factor._replace(hyperparams={"step_size": jnp.float32(0.25)}))

  params, _ = train(optax.GradientTransformation(init, tx.update), PARAMS, GRADS, 3)
  assert zeros(params)["shared/kernel"] == round(0.5 * 63) / 63


NET = mtl.arch.hard_sharing(
  mtl.from_linen(WithMemory()), {"kind": mtl.from_linen(nn.Dense(2)), "size": mtl.from_linen(nn.Dense(1))}
)
TX = pruned(optax.adamw(1e-2, weight_decay=0.1), 0.7, begin=2, end=8, every=2)


def run(run_dir=None, steps=12, **options):
  options = {"batch_size": 16, "eval_every": 2, "valid": arrays(40, 1), "best_from": 8, "progress": False} | options
  balancer = options.pop("balancer", "pcgrad")
  if balancer == "pcgrad":
    options["loop"] = mtl.train.Loop(programs=programs())
  return mtl.fit(NET, TASKS, balancer, TX, arrays(80, 0), steps=steps, run_dir=run_dir, **options)


@functools.cache
def programs():
  """Compiled once."""
  return mtl.train.compile_programs(NET, TASKS, "pcgrad", TX, arrays(80, 0))


@pytest.mark.slow
def test_a_run_that_goes_on_has_the_same_masks(tmp_path):
  whole = run(tmp_path / "whole")
  for steps in (5, 12):
    parts = run(tmp_path / "parts", steps, resume=True, **({} if steps > 8 else {"best_from": 4}))
  assert digest(parts.state) == digest(whole.state) and parts.best_step == whole.best_step >= 8
  assert zeros(whole.params)["shared/Dense_0/kernel"] == round(0.7 * 6 * 32) / (6 * 32)
  best = mtl.load(tmp_path / "parts", NET, TASKS).params
  jax.tree.map(np.testing.assert_array_equal, best, whole.params)
  with pytest.raises(UserError, match="started with another configuration: .*best_from"):
    run(tmp_path / "whole", best_from=10, resume=True)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("balancer", "options"),
  [("mgda", {"engine": "gram"}), ("equal", {"accumulate": 4, "nonfinite": "rollback"})],
)
def test_with_engines_and_pieces(balancer, options):
  fit = run(balancer=balancer, **options)
  assert zeros(fit.params)["shared/Dense_0/kernel"] == round(0.7 * 6 * 32) / (6 * 32)


@pytest.mark.parametrize("rules", ["fsdp", "zero"])
def test_masks_lie_with_their_parameters(rules):
  mesh = jax.sharding.AbstractMesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(1024)), {"size": mtl.from_linen(nn.Dense(1))})
  tasks, tx = {"size": TASKS["size"]}, pruned(optax.adam(0.1), 0.5, end=2)
  batch = arrays(2, 0)
  init = lambda: mtl.init_train_state(net, tasks, "equal", tx, batch, jax.random.key(0))  # noqa: E731
  found = mtl.shard.state_shardings(jax.eval_shape(init), tx, mesh, rules).opt_state
  assert found.kept["shared"]["kernel"].spec == found.inner[0].mu["shared"]["kernel"].spec
  assert found.kept["shared"]["kernel"].spec == jax.sharding.PartitionSpec(None, "data")


@pytest.mark.parametrize(
  ("change", "told"),
  [
    ({"sparsity": 1.0}, "sparsity is 1.0, expected a share of at least 0 and below 1"),
    ({"begin": 5, "end": 5}, "begin is 5 and end 5, expected that it ends after it has begun"),
    ({"every": 0}, "every is 0, expected at least 1"),
    ({"parts": "trunk/"}, "pruned: no parameter matches 'trunk/': there are shared/bias"),
    ({"but": "("}, "pruned: '\\(' is no regular expression"),
    ({"parts": "norm"}, "pruned: of 'norm' no leaf of two or more axes is left to prune"),
  ],
)
def test_mistakes_are_told(change, told):
  with pytest.raises(UserError, match=told):
    pruned(optax.sgd(0.1), **{"sparsity": 0.5, "end": 4} | change).init(PARAMS)


def test_no_evaluation_before_counts():
  order = itertools.count()  # the first one that counts is the best
  assert run(best_from=8, score=lambda metrics: next(order)).best_step == 8


def test_a_best_model_that_cannot_be():
  with pytest.raises(UserError, match="best_from is 13, but the run has 12 steps"):
    run(best_from=13)
  tx = pruned(optax.sgd(0.1), 0.5, end=4)
  with pytest.raises(UserError, match="update got no params"):
    tx.update(GRADS, tx.init(PARAMS))
