"""What every architecture must do, whatever trunk, tasks, engine and method it is combined with."""

import functools
import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._core.paths import by_path
from mtl_jax.engine.linearize import linearize
from mtl_jax.nn._batch_norm import BatchNorm
from tests.arch._table import TABLE, filled

BATCH, TX = 12, optax.sgd(0.1)
every_architecture = pytest.mark.parametrize("name", TABLE)


class Stage(nn.Module):
  """A layer with batch statistics and dropout."""

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.Dropout(0.5, deterministic=not train)(nn.relu(BatchNorm()(nn.Dense(8)(x), train)))
    return x


class Words(nn.Module):
  """Tokens with a mask become vectors with the mask."""

  @nn.compact
  def __call__(self, x):
    return {"x": nn.Embed(11, 8)(x["tokens"]), "mask": x["mask"]}


class Position(nn.Module):
  """A layer at each position."""

  @nn.compact
  def __call__(self, x):
    return x | {"x": nn.relu(nn.Dense(8)(x["x"]))}


class Mean(nn.Module):
  """The mean over positions that are not padding."""

  @nn.compact
  def __call__(self, x):
    weights = x["mask"].astype(x["x"].dtype)[..., None]
    return nn.Dense(8)((x["x"] * weights).sum(axis=1) / weights.sum(axis=1))


def test_all_of_them_are_tried():
  assert sorted(TABLE) == list(mtl.arch.names())


def plain():
  return mtl.from_linen(mtl.nn.MLP((8, 8)))


def with_state():
  return mtl.arch.chain(mtl.from_linen(Stage()), mtl.from_linen(Stage()))


def on_tokens(middle=False):
  between = [mtl.from_linen(Position())] if middle else []
  return mtl.arch.chain(mtl.from_linen(Words()), *between, mtl.from_linen(Mean()))


def built(name, trunk, count, **more):
  """The net of an architecture with heads t0, t1, ..., and its tasks."""
  case, names = TABLE[name], [f"t{i}" for i in range(count)]
  net = case.make(case.fitted(trunk), {name: mtl.from_linen(nn.Dense(1)) for name in names}, **case.options | more)
  return net, {name: mtl.tasks.regression(f"y_{name}") for name in names}


def labels(tasks):
  keys = jax.random.split(jax.random.key(7), len(tasks))
  return {f"y_{name}": jax.random.normal(key, (BATCH,)) for name, key in zip(tasks, keys, strict=True)}


def kinds(tree):
  return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


@every_architecture
@pytest.mark.parametrize("count", [1, 7])  # two and three are below
def test_any_number_of_tasks_with_statistics_and_dropout(name, count):
  net, tasks = built(name, with_state(), count)
  x = jnp.ones((BATCH, 5))

  def run(key):
    params, state = net.init(key, x)
    return state, *net.apply(params, state, x, key=key, train=True, step=jnp.int32(3)), net.apply(params, state, x)[0]

  before, predictions, after, tested = jax.eval_shape(run, jax.random.key(0))
  assert {name: y.shape for name, y in predictions.items()} == dict.fromkeys(tasks, (BATCH, 1))
  assert kinds(tested) == kinds(predictions) and kinds(before) == kinds(after)
  assert (net.cut is not None) == TABLE[name].cut


@every_architecture
def test_tokens_and_padding_reach_the_trunk(name):
  net, tasks = built(name, on_tokens(TABLE[name].middle), 2, **TABLE[name].on_tokens)
  tokens = jax.random.randint(jax.random.key(0), (BATCH, 6), 0, 11)
  x = {"tokens": tokens, "mask": jnp.arange(6)[None] < jnp.arange(BATCH)[:, None] % 5 + 1}

  @jax.jit
  def run(x, other):
    params, state = net.init(jax.random.key(1), x)
    return [net.apply(params, state, batch)[0] for batch in (x, other)]

  found, other = run(x, x | {"tokens": jnp.where(x["mask"], tokens, 0)})
  assert sorted(found) == sorted(tasks)
  for task in tasks:  # what stands at padding counts for nothing
    np.testing.assert_allclose(found[task], other[task], rtol=1e-5, atol=1e-6)


@every_architecture
def test_inputs_of_their_own_and_bfloat16(name):
  net, tasks = built(name, plain(), 3)
  inputs = {task: f"x_{task}" for task in tasks}
  batch = labels(tasks) | {key: jnp.ones((BATCH, 5)) for key in inputs.values()}
  objective = mtl.objective(net, tasks, inputs, compute_dtype=jnp.bfloat16)

  def run(key):
    params, state = net.init(key, batch["x_t0"])
    losses, aux = objective.at_step(jnp.int32(3))(params, state, batch, key)
    return losses, state, aux["state"]

  losses, before, after = jax.eval_shape(run, jax.random.key(0))
  assert [loss.dtype for loss in losses.values()] == [jnp.float32] * 3
  assert kinds(before) == kinds(after)


WITH_GRAM = ("mmoe", "ple", "film")  # `factored` reads the same backward passes


@functools.cache
def trained(name):
  """The task gradients, and the parameters after a step of MGDA by each engine that serves it; one program.

  `stacked` takes a whole step. Others differ in nothing but the gradient of the shared parameters.
  """
  net, tasks = built(name, plain(), 3)
  batch = labels(tasks) | {"x": jax.random.normal(jax.random.key(3), (BATCH, 5))}
  balancer, objective = mtl.balance.mgda(), mtl.objective(net, tasks)
  engines = [mtl.engine.factored()] + [mtl.engine.gram()] * (name in WITH_GRAM)
  create = functools.partial(mtl.init_train_state, net, tasks, balancer, TX, batch)
  state = filled(jax.eval_shape(create, jax.random.key(1)))
  step = mtl.make_train_step(objective, balancer, TX, "stacked")

  @jax.jit
  def run(state, batch):
    now, key = objective.at_step(state.step), jax.random.fold_in(state.key, state.step)

    def losses(params):
      return jnp.stack([*now(params, state.state, batch, key)[0].values()])

    linear = linearize(now, state.params, state.state, batch, key)
    after = {"stacked": step(state, batch)[0].params}
    for engine in engines:
      gradient = engine.run(linear, balancer, state.balancer, engine.init(3))[0]
      after[engine.name] = {"shared": jax.tree.map(lambda p, g: p - 0.1 * g, state.params["shared"], gradient)}
    return jax.jacrev(losses)(state.params), after

  return list(tasks), *jax.device_get(run(state, batch))


@pytest.mark.slow
@every_architecture
def test_shared_parameters_are_those_of_several_tasks(name):
  tasks, gradients, _ = trained(name)
  for path, leaf in by_path(gradients).items():
    moved = [task for task, own in zip(tasks, leaf, strict=True) if np.any(own)]
    if path.startswith("task/"):
      assert set(moved) <= {path.split("/")[1]}, path
    else:
      assert len(moved) >= 2, f"{path} has gradient of {moved}"


@pytest.mark.slow
@every_architecture
def test_all_engines_agree(name):
  _, _, after = trained(name)
  for engine in after.keys() - {"stacked"}:
    for path, leaf in by_path(after[engine]).items():
      np.testing.assert_allclose(leaf, by_path(after["stacked"])[path], rtol=1e-4, atol=2e-5, err_msg=path)


@every_architecture
@pytest.mark.parametrize("method", ["pcgrad", "uncertainty"])  # by G, with a key, and by losses, with learned numbers
def test_methods_take_it(name, method):
  """A step by the engine that is chosen for it has a state like the one before."""
  net, tasks = built(name, plain(), 3)
  batch = labels(tasks) | {"x": jnp.ones((BATCH, 5))}
  balancer = mtl.balance.as_balancer(method)
  make = functools.partial(mtl.init_train_state, net, tasks, balancer, TX, batch)
  state = jax.eval_shape(make, jax.random.key(0))
  after, _ = jax.eval_shape(mtl.make_train_step(mtl.objective(net, tasks), balancer, TX), state, batch)
  assert kinds(after) == kinds(state)


@every_architecture
def test_parts_that_are_none(name):
  head, trunk = mtl.from_linen(nn.Dense(1)), plain()
  make = functools.partial(inspect.unwrap(TABLE[name].make), **TABLE[name].options)  # past the test's type checker
  with pytest.raises(mtl.UserError, match=f"{name}: trunk is .*, expected a Net"):
    make(mtl.nn.MLP((8, 8)), {"a": head})
  with pytest.raises(mtl.UserError, match=f"{name}: head 'a' is .*, expected a Net"):
    make(trunk, {"a": nn.Dense(1)})
  with pytest.raises(mtl.UserError, match=f"{name} needs at least one head, found none"):
    make(trunk, {})
