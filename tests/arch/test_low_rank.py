"""Low-rank updates of a trunk's kernels: lora, mtlora, mtl_lora."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._core.paths import by_path

HEADS = {"a": mtl.from_linen(nn.Dense(2)), "b": mtl.from_linen(nn.Dense(1))}
SAME = {"t": mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (x, state))}
X, EYE = jnp.array([[1.0, 2.0]]), jnp.eye(2)
FIRST, SECOND = (
  {"a": EYE[:, :1], "b": EYE[1:]},
  {"a": EYE[:, 1:], "b": EYE[:1]},
)  # A = (1, 0), B = (0, 1)', and A = (0, 1) ...
NONE = {"a": EYE[:, :1], "b": jnp.zeros((1, 2))}


def dense():
  return mtl.from_linen(nn.Dense(2, use_bias=False))


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("lora", {}),
    ("lora", {"rank": 0}),
    ("mtlora", {"mode": "matrixv2", "rank": 0, "task_rank": 0}),
    ("mtlora", {"rank": 2}),
    ("mtl_lora", {"rank": 2}),
  ],
)
def test_it_starts_as_hard_sharing(name, options):
  trunk = mtl.from_linen(mtl.nn.MLP((4, 3)))
  net = getattr(mtl.arch, name)(trunk, HEADS, **options)
  plain = mtl.arch.hard_sharing(mtl.arch.chain(*trunk.stages) if name == "mtlora" else trunk, HEADS)

  @jax.jit
  def run(x):
    params, state = net.init(jax.random.key(1), x)
    shared = params["shared"] if name == "lora" else params["shared"]["trunk"]
    same = {"shared": shared, "task": {n: own["head"] for n, own in params["task"].items()}}
    empty = {"shared": {f"stage_{i}": {} for i in range(2)}, "task": {"a": {}, "b": {}}}
    return net.apply(params, state, x)[0], plain.apply(same, empty, x)[0]

  found, expected = run(jax.random.normal(jax.random.key(0), (3, 5)))
  for task in HEADS:
    np.testing.assert_allclose(found[task], expected[task], rtol=1e-5, atol=1e-6)


def applied(net, shared, own, state=None):
  trunk = {} if state is None else state
  params = {"shared": shared, "task": {"t": {"lora": own, "head": {}}}}
  return net.apply(params, {"shared": trunk, "task": {"t": {"trunk": trunk, "head": {}}}}, X)[0]["t"][0]


def test_lora_by_hand():
  net = mtl.arch.lora(dense(), SAME, rank=1, scale=4.0)
  np.testing.assert_allclose(applied(net, {"kernel": EYE}, {"kernel": FIRST}), [1, 6])


def test_lora_takes_a_convolution_as_a_matrix():
  trunk = mtl.from_linen(nn.Conv(3, (2, 2)))
  net, x = mtl.arch.lora(trunk, SAME, rank=2, scale=0.5), jax.random.normal(jax.random.key(0), (2, 4, 4, 5))
  shapes, _ = jax.eval_shape(net.init, jax.random.key(0), x)
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes)
  own = params["task"]["t"]["lora"]["kernel"]
  assert own["a"].shape == (2 * 2 * 5, 2) and own["b"].shape == (2, 3)
  moved = {**params["shared"], "kernel": params["shared"]["kernel"] + 0.5 * (own["a"] @ own["b"]).reshape(2, 2, 5, 3)}
  found, _ = net.apply(params, {"shared": {}, "task": {"t": {"trunk": {}, "head": {}}}}, x)
  np.testing.assert_allclose(found["t"], trunk.apply(moved, {}, x)[0], rtol=1e-5, atol=1e-5)


def test_mtlora_by_hand():
  """The values are those of the official code."""
  both, trunk = {"rank": 1, "task_rank": 1}, {"stage_0": {"kernel": EYE}, "stage_1": {"kernel": EYE}}
  first, second = "stage_0/kernel", "stage_1/kernel"
  state = {"stage_0": {}, "stage_1": {}}
  one, two = mtl.arch.chain(dense()), mtl.arch.chain(dense(), dense())

  net = mtl.arch.mtlora(two, SAME, **both)
  shared = {"trunk": trunk, "lora": {first: FIRST}}
  np.testing.assert_allclose(applied(net, shared, {second: NONE}, state), [1, 6])
  net, shared = mtl.arch.mtlora(one, SAME, **both), {"trunk": {"stage_0": trunk["stage_0"]}}
  np.testing.assert_allclose(applied(net, {**shared, "lora": {}}, {first: SECOND}, state), [9, 2])
  net = mtl.arch.mtlora(one, SAME, **both, mode="matrixv2")
  np.testing.assert_allclose(applied(net, {**shared, "lora": {first: FIRST}}, {first: SECOND}, state), [9, 6])


def test_mtlora_gives_the_last_stages_with_kernels_to_the_tasks():
  trunk = mtl.arch.chain(dense(), dense(), mtl.Net(lambda key, x: ({}, {}), lambda p, s, x: (jax.nn.relu(x), s)))
  for stages, shared, own in (
    (1, ["stage_0/kernel"], ["stage_1/kernel"]),
    (2, [], ["stage_0/kernel", "stage_1/kernel"]),
  ):
    net = mtl.arch.mtlora(trunk, SAME, task_stages=stages)
    params, state = jax.eval_shape(net.init, jax.random.key(0), X)
    assert list(params["shared"]["lora"]) == shared and list(params["task"]["t"]["lora"]) == own
    assert list(state["task"]["t"]["trunk"]) == [f"stage_{i}" for i in range(2 - stages, 3)]


def test_mtl_lora_by_hand():
  net = mtl.arch.mtl_lora(dense(), SAME, rank=1, ups=2, scale=2.0)
  shared = {"trunk": {"kernel": EYE}, "lora": {"kernel": {"a": EYE[:, :1], "b": EYE[:, None]}}}
  own = {"kernel": {"transform": jnp.array([[2.0]]), "mixture": jnp.array([0.1, 0.0])}}
  np.testing.assert_allclose(applied(net, shared, own), [3.924234, 3.075766], rtol=1e-6)
  params = {"shared": shared, "task": {"t": {"lora": own, "head": {}}}}
  np.testing.assert_allclose(net.report(params, {})["mixture/t"], [[0.731059, 0.268941]], rtol=1e-5)


def test_the_transformation_stands_between_the_factors():
  """As the matrix in the formula, from which the parameters are transposed: not symmetric here."""
  rng = np.random.default_rng(0)
  a, b, transform = rng.normal(size=(2, 2)), rng.normal(size=(1, 2, 2)), rng.normal(size=(2, 2))  # A, B and Lambda
  net = mtl.arch.mtl_lora(dense(), SAME, rank=2, ups=1, scale=3.0)
  shared = {"trunk": {"kernel": EYE}, "lora": {"kernel": {"a": jnp.float32(a.T), "b": jnp.float32(b.swapaxes(1, 2))}}}
  own = {"kernel": {"transform": jnp.float32(transform.T), "mixture": jnp.zeros(1)}}
  expected = np.asarray(X[0]) + 3 * b[0] @ transform @ a @ np.asarray(X[0])
  np.testing.assert_allclose(applied(net, shared, own), expected, rtol=1e-5)


@pytest.mark.parametrize(
  ("name", "frozen", "method"), [("lora", "^shared/", "equal"), ("mtl_lora", "^shared/trunk/", "pcgrad")]
)
def test_a_frozen_trunk_stays(name, frozen, method):
  tasks = {"a": mtl.tasks.regression("y_a"), "b": mtl.tasks.regression("y_b")}
  net = getattr(mtl.arch, name)(dense(), {n: mtl.from_linen(nn.Dense(1)) for n in tasks}, rank=1)
  batch, tx = {"x": X, "y_a": jnp.ones(1), "y_b": jnp.ones(1)}, optax.sgd(0.1)
  step = mtl.make_train_step(mtl.objective(net, tasks), method, tx, frozen=frozen)

  @jax.jit
  def run(key):
    before = mtl.init_train_state(net, tasks, method, tx, batch, key, frozen=frozen)
    return before.params, step(step(before, batch)[0], batch)[0].params

  before, after = map(by_path, run(jax.random.key(0)))
  still = [path for path in before if np.array_equal(before[path], after[path])]
  assert still == ["shared/kernel" if name == "lora" else "shared/trunk/kernel"]


def test_errors():
  trunk, key = mtl.arch.chain(dense(), dense()), jax.random.key(0)
  for name in ("lora", "mtlora", "mtl_lora"):
    make = getattr(mtl.arch, name)
    with pytest.raises(mtl.UserError, match=f"{name}: rank is -1, expected at least 0"):
      make(trunk, SAME, rank=-1)
    with pytest.raises(mtl.UserError, match=rf"{name}: no kernel of the trunk matches 'weight': .*stage_0/kernel"):
      make(trunk, SAME, kernels="weight").init(key, X)
    with pytest.raises(mtl.UserError, match=rf"{name}: kernels is '\(', which is no regular expression"):
      make(trunk, SAME, kernels="(").init(key, X)
  with pytest.raises(mtl.UserError, match="mtlora: task_rank is -1, expected at least 0"):
    mtl.arch.mtlora(trunk, SAME, task_rank=-1)
  with pytest.raises(mtl.UserError, match="mtlora: task_stages is 0, expected at least 1"):
    mtl.arch.mtlora(trunk, SAME, task_stages=0)
  with pytest.raises(mtl.UserError, match="mtlora: task_stages is 3, but 2 stages of the trunk have kernels"):
    mtl.arch.mtlora(trunk, SAME, task_stages=3).init(key, X)
  with pytest.raises(mtl.UserError, match="mtl_lora: ups is 0, expected at least 1"):
    mtl.arch.mtl_lora(trunk, SAME, ups=0)
  with pytest.raises(mtl.UserError, match="mtl_lora: temperature is 0, expected above 0"):
    mtl.arch.mtl_lora(trunk, SAME, temperature=0)


def test_an_unknown_mode():
  make = inspect.unwrap(mtl.arch.mtlora)  # past the test's type checker
  with pytest.raises(mtl.UserError, match=r"mtlora: unknown mode 'matrix2' \(did you mean 'matrix.*choose from"):
    make(dense(), SAME, mode="matrix2")
