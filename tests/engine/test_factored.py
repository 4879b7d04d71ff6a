"""`factored` finds the Gram matrix that rows give, without making the rows of dense kernels."""

import functools
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._core.gram import gram as gram_of
from mtl_jax._core.paths import matching
from mtl_jax.engine._backward import products as arithmetic
from mtl_jax.engine._backward.layers import Product
from mtl_jax.engine.factored import factored_gram
from mtl_jax.engine.linearize import linearize
from mtl_jax.engine.rows import rows
from tests import _nets
from tests.engine._problem import (
  ConvTrunk,
  Trunk,
  convolutions,
  problem,
  relative_distance,
  temporary_memory,
  update,
)

KERNEL = "kernel$"


class Tied(nn.Module):
  """One kernel in two layers."""

  @nn.compact
  def __call__(self, x):
    dense = nn.Dense(16)
    return jnp.tanh(dense(nn.relu(dense(x))))


class TiedTransposed(nn.Module):
  """One kernel, in the second layer transposed: the two products cannot be added up entry by entry."""

  @nn.compact
  def __call__(self, x):
    kernel = self.param("kernel", nn.initializers.lecun_normal(), (16, 16)).astype(x.dtype)
    return nn.relu(x @ kernel) @ kernel.T


class Positions(nn.Module):
  """Dense layers over (B, S, C), one with a kernel of three axes."""

  @nn.compact
  def __call__(self, x):
    x = x.reshape(x.shape[0], 2, -1)
    x = nn.DenseGeneral((2, 6))(nn.relu(nn.Dense(12)(x)))
    return nn.DenseGeneral(8, axis=(-2, -1))(nn.relu(x)).mean(axis=1)


class Jitted(nn.Module):
  """A layer inside `jit`, called twice, and one inside `checkpoint`."""

  @nn.compact
  def __call__(self, x):
    dense = jax.jit(lambda x, w: nn.relu(x @ w))
    for i in range(2):
      x = dense(x, self.param(f"kernel{i}", nn.initializers.lecun_normal(), (16, 16)).astype(x.dtype))
    return nn.remat(nn.Dense)(8)(x)


class Experts(nn.Module):
  """Three copies of two layers as one: the first takes the same input, the second each its own."""

  @nn.compact
  def __call__(self, x):
    copies = nn.vmap(
      Trunk, in_axes=None, out_axes=1, axis_size=3, variable_axes={"params": 0}, split_rngs={"params": True}
    )
    return copies()(x).mean(axis=1)


# Dense layers alone: with bfloat16 and with methods below.
KINDS = {
  "conv": (dict(trunk=ConvTrunk()), {}),
  "uncut": (dict(cut=False), {}),
  "two inputs": (dict(own_inputs=True), dict(inputs={"t0": "x_t0", "t1": "x_t1", "t2": "x_t0"})),
  "tied": (dict(trunk=Tied()), {}),
  "tied transposed": (dict(trunk=TiedTransposed()), {}),
  "positions": (dict(trunk=Positions()), {}),
  "jitted": (dict(trunk=Jitted()), {}),
  "experts": (dict(trunk=Experts()), {}),
  "experts of own inputs": (dict(own_inputs=True, trunk=Experts()), dict(layers=KERNEL)),
  "one layer": (dict(), dict(layers="Dense_1/kernel")),
  "halves of own inputs": (dict(own_inputs=True), dict(shares=(0.5, 0.5), layers=KERNEL)),
}
PRODUCTS = {
  "conv": 1,
  "tied": 1,
  "tied transposed": 0,
  "positions": 3,
  "jitted": 3,
  "experts": 2,
  "one layer": 1,
}
PRODUCTS |= {"halves of own inputs": 2, "experts of own inputs": 2}


@pytest.fixture
def choices(monkeypatch):
  """Takes the way of factors wherever it exists, for small nets too; collects the sizes of its layers."""
  found = []
  module = sys.modules["mtl_jax.engine._backward.ways"]
  monkeypatch.setattr(module, "pays", lambda groups, counts: found.append(groups[0][0].sizes) or True)
  return found


def _grams(kind, layers=None, shares=(1.0,), compute_dtype=None, inputs=None):
  """The Gram matrix by definition, and by `factored` in turn, at once, and by rows of some of a kernel's inputs."""
  net, tasks, batch, default = problem(3, batch=8, **kind)
  inputs = default if inputs is None else inputs
  first = batch[inputs if isinstance(inputs, str) else inputs["t0"]]
  params, state = net.init(jax.random.key(0), first)
  objective = mtl.objective(net, tasks, inputs, compute_dtype=compute_dtype)

  @jax.jit
  def all_ways(params, state, batch):
    linearized = linearize(objective, params, state, batch, None, shares)
    ways = [factored_gram(linearized, layers, one_by_one=in_turn)[0] for in_turn in (True, False)]
    ways.append(factored_gram(linearized, layers, one_by_one=False, products=False)[0])
    return gram_of(matching(rows(linearized, one_by_one=True), layers)), ways

  expected, ways = all_ways(params, state, batch)
  return np.asarray(expected), [np.asarray(found) for found in ways]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_the_gram_matrix_is_that_of_the_rows(kind, choices):
  net, options = KINDS[kind]
  expected, ways = _grams(net, **options)
  assert len(choices) == 2 * PRODUCTS.get(kind, 2)  # a kernel for each dense layer, in turn and at once
  for found in ways:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_bfloat16_compute_gives_the_gram_matrix_of_its_rows(choices):
  exact, exact_ways = _grams({})
  expected, ways = _grams({}, compute_dtype=jnp.bfloat16)
  assert len(choices) == 8
  for found in exact_ways:
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5 * np.abs(exact).max())
  for found in ways:
    assert found.dtype == np.float32
    # Rows are rounded to 8 bits and products of factors are not, so the two differ by 0.4 % at most, and less in sums.
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-3 * np.abs(expected).max())
    np.testing.assert_allclose(found, exact, rtol=0, atol=2e-2 * np.abs(exact).max())


@pytest.mark.parametrize("library", ["nnx", "equinox"])
@pytest.mark.slow
def test_networks_of_any_library(library, choices):
  net, batch = _nets.multi_task(library), _nets.batch(6)
  tasks = _nets.tasks()
  params, state = net.init(jax.random.key(0), batch["x"])

  @jax.jit
  def both(params, state, batch):
    linearized = linearize(mtl.objective(net, tasks), params, state, batch, jax.random.key(1))
    expected = gram_of(rows(linearized, one_by_one=True))
    return expected, factored_gram(linearized, None, one_by_one=False)[0]

  expected, found = both(params, state, batch)
  assert len(choices) == 2  # both dense layers
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["mgda", "sdmgrad"])  # on the whole batch, and on three parts of it
@pytest.mark.slow
def test_a_step_is_that_of_the_gram_engine(method, choices):
  net, tasks, batch, _ = problem(3)
  balancer, tx = getattr(mtl.balance, method)(), optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(1))
  engines = (mtl.engine.factored(), mtl.engine.gram())
  steps = [mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine) for engine in engines]
  found, expected = jax.jit(lambda state, batch: [step(state, batch) for step in steps])(state, batch)
  assert choices
  for task in tasks:
    np.testing.assert_allclose(found[1]["weights"][task], expected[1]["weights"][task], rtol=1e-4, atol=1e-6)
  assert relative_distance(*(update(state.params, new.params) for new, _ in (found, expected))) < 1e-4


def test_any_function_may_be_the_objective():
  def losses(params, state, batch, key):
    w = params["shared"]["w"]
    return {"a": jnp.sum((w - 1.0) ** 2), "b": jnp.sum((w + 1.0) ** 2) * params["task"]["b"]}, {"state": state}

  params = {"shared": {"w": jnp.zeros(3), "unused": jnp.zeros(2)}, "task": {"a": jnp.ones(()), "b": jnp.ones(())}}

  @jax.jit
  def grams(params):
    linearized = linearize(losses, params, {}, None, None)
    ways = [factored_gram(linearized, None, one_by_one=in_turn)[0] for in_turn in (True, False)]
    return ways, factored_gram(linearized, "unused", one_by_one=True)[0]

  ways, nothing = grams(params)
  for found in ways:
    np.testing.assert_allclose(found, [[12.0, -12.0], [-12.0, 12.0]], rtol=1e-6)
  np.testing.assert_array_equal(nothing, np.zeros((2, 2)))


@pytest.mark.parametrize(
  ("trunk", "products"),
  [
    (Trunk(), False),
    (Tied(), True),
    (Tied(), False),
    (TiedTransposed(), False),
    (Positions(), True),
    (Jitted(), True),
    (ConvTrunk(), True),
  ],
)
@pytest.mark.slow
def test_what_tasks_with_inputs_of_their_own_keep_gives_the_gradient(trunk, products, choices, monkeypatch):
  monkeypatch.setattr("mtl_jax.engine._backward.ways.KEPT", 100)
  net, tasks, batch, inputs = problem(3, batch=8, own_inputs=True, trunk=trunk)
  params, state = net.init(jax.random.key(0), batch[inputs["t0"]])
  weights = jnp.array([0.5, -2.0, 1.0])

  @jax.jit
  def pulled(params):
    linearized = linearize(mtl.objective(net, tasks, inputs), params, state, batch, None)
    short = [factored_gram(linearized, None, one_by_one=turn, products=products)[1] for turn in (True, False)]
    assert [len(each.pullbacks) for each in (linearized, *short)] == [3, 1, 1]
    return [each.pull(weights) for each in (linearized, *short)]

  expected, *found = pulled(params)
  for gradient in found:
    # The gradient of a bias before batch normalisation is 0 but for rounding.
    assert relative_distance(gradient, expected) < (1e-4 if isinstance(trunk, ConvTrunk) else 1e-6)


@pytest.mark.slow
def test_what_is_kept_is_no_larger_than_two_gradients():
  """Rows of three convolutions are; nor is anything kept of forward passes of several tasks, or of some layers."""
  for kind, layers in ((dict(trunk=ConvTrunk(), own_inputs=True), None), ({}, None), (dict(own_inputs=True), KERNEL)):
    net, tasks, batch, inputs = problem(3, batch=8, **kind)
    first = inputs if isinstance(inputs, str) else inputs["t0"]

    def check(key, batch, net=net, tasks=tasks, inputs=inputs, layers=layers, first=first):
      linearized = linearize(mtl.objective(net, tasks, inputs), *net.init(key, batch[first]), batch, None)
      short = factored_gram(linearized, layers)[1]
      assert [p.pull for p in short.pullbacks] == [p.pull for p in linearized.pullbacks]

    jax.eval_shape(check, jax.random.key(0), batch)


def test_rows_are_made_where_they_are_cheaper():
  def pays(batch, width, tasks, groups=1, passes=1):
    term = Product(0, 1, ((0,), (0,)), (batch, width, width), passes, None, jnp.dot)
    return arithmetic.pays([[term]] * groups, [[tasks]] * groups)

  assert pays(256, 1024, 8)  # 1.2e9 multiplications against 4.4e9
  assert not pays(4096, 256, 8)  # many positions, few channels
  assert not pays(1024, 1024, 2)  # as many examples as inputs: rows, and A A^T comes on top
  assert not pays(256, 1024, 8, passes=6)  # exact products cost six of the layer's own
  assert pays(64, 1024, 8, passes=6)
  assert pays(32, 1024, 1, groups=8)


@pytest.mark.slow
def test_no_rows_of_wide_kernels_are_kept():
  """T = 8, MLP 64-1024x2, batch 16: all they hold is less than half the rows of a kernel, which `stacked` holds."""
  net, tasks, batch, _ = problem(8, trunk=Trunk((1024,) * 2), batch=16, features=64)
  temp = functools.partial(temporary_memory, net, tasks, batch)
  kernel_rows = 4 * 8 * 1024 * 1024
  assert temp(mtl.engine.stacked()) > kernel_rows
  assert temp(mtl.engine.gram()) < kernel_rows / 2
  for one_by_one in (True, False):  # the update itself is an eighth of that
    assert temp(mtl.engine.factored(one_by_one=one_by_one)) < kernel_rows / 2


@pytest.mark.slow
def test_a_task_adds_little_more_than_its_cotangent():
  """Batch 256, features 512, heads 64-1: the cotangents of all tasks are made into one stack, none lie beside it."""

  def temp(count):
    net, tasks, batch, _ = problem(count, trunk=Trunk((512,)), head=mtl.nn.MLP((64,), out=1), batch=256, features=64)
    return temporary_memory(net, tasks, batch, mtl.engine.factored())

  assert (temp(12) - temp(8)) / 4 < 1.6 * 4 * 256 * 512


@pytest.mark.parametrize("engine", [mtl.engine.gram(), mtl.engine.factored(), mtl.engine.stacked()])
def test_convolutions_of_several_tasks_are_no_batch_on_cpu(engine):
  """Batched over tasks a convolution gets groups, with which CPUs are 40 times slower."""
  net, tasks, batch, inputs = problem(3, trunk=ConvTrunk())
  balancer, tx = mtl.balance.mgda(), optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=engine)
  step = mtl.make_train_step(mtl.objective(net, tasks, inputs), balancer, tx, engine)
  found = list(convolutions(jax.make_jaxpr(step)(state, batch).eqns))
  assert len(found) >= 1 + 3  # forward, and the kernel's gradient for each task
  assert all(eqn.params["feature_group_count"] == eqn.params["batch_group_count"] == 1 for eqn in found)
