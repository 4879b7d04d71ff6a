"""Mistakes in what `fit` and the train step are given: one line, before anything is computed."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import mtl_jax as mtl
from mtl_jax.net import adapter_of, check_module, check_net
from mtl_jax.train._arguments import check_alike, check_functions, check_needs, check_optimizer

NET = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(2)), {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")})
TASKS = {"a": mtl.tasks.regression("a"), "b": mtl.tasks.regression("b")}
BATCH = {"x": np.ones((4, 3), np.float32), "a": np.ones(4, np.float32), "b": np.zeros(4, np.float32)}
TX = optax.sgd(0.1)


@pytest.mark.parametrize("tx", [1e-3, "adam", optax.adam, optax.constant_schedule(1.0), None])
def test_what_is_no_optimizer(tx):
  with pytest.raises(mtl.UserError, match=r"tx is .*, expected an optimizer of optax, such as optax.adam\(1e-3\)"):
    check_optimizer(tx)


def test_options_that_do_nothing():
  with pytest.raises(mtl.UserError, match="eval_every is given, but does nothing without valid: pass valid="):
    check_needs("valid", None, {"eval_every": 3})
  with pytest.raises(mtl.UserError, match="transform is 'flip', expected a function"):
    check_functions({"score": None, "transform": "flip"})


@pytest.mark.parametrize(
  "module, line",
  [
    (nn.Dense(2), r"trunk is a Dense, expected a Net: mtl.from_linen\(Dense\(...\)\)"),
    (nn.Dense, r"trunk is the class Dense, expected a Net: mtl.from_linen\(Dense\(...\)\)"),
    (nnx.Linear(1, 1, rngs=nnx.Rngs(0)), r"trunk is a Linear, expected a Net: mtl.from_nnx\(Linear\(...\)\)"),
    (jnp.sin, r"trunk is a .*, expected a Net: mtl.from_linen\(module\), or Net\(init, apply\)"),
  ],
)
def test_modules_in_place_of_nets(module, line):
  with pytest.raises(mtl.UserError, match=line):
    check_net("trunk", module)


def test_modules_of_other_libraries():
  import equinox as eqx

  linear = eqx.nn.Linear(1, 1, key=jax.random.key(0))
  assert adapter_of(linear) == "from_equinox" and adapter_of(3) is None
  with pytest.raises(mtl.UserError, match=r"from_linen: found a Linear, which is for another: mtl.from_equinox\(...\)"):
    mtl.from_linen(linear)
  with pytest.raises(mtl.UserError, match=r"mtl.from_linen\(...\)"):
    mtl.from_nnx(nn.Dense(2))
  with pytest.raises(mtl.UserError, match=r"mtl.from_linen\(...\)"):
    mtl.from_equinox(nn.Dense(2))
  check_module("from_nnx", lambda rngs: None)


@pytest.mark.parametrize(
  "net, tasks, line",
  [
    (nn.Dense(1), TASKS, "net is a Dense, expected a Net"),
    (TASKS, NET, "net is a dict, expected a Net"),
    (NET, [*TASKS.values()], "tasks is a list, expected a dictionary"),
    (NET, {"a": mtl.tasks.regression}, r"task 'a' is the function regression, expected a Task"),
  ],
)
def test_net_and_tasks_are_looked_at_first(net, tasks, line):
  for function in (mtl.objective, mtl.train.make_predict):
    with pytest.raises(mtl.UserError, match=line):
      function(net, tasks)
    with pytest.raises(mtl.UserError, match=line):
      function(net, tasks=tasks)


def rows(shape, dtype):
  return {"x": np.zeros((5, *shape), dtype)}


def test_validation_data_are_like_training_data():
  train = rows((3,), "float32")
  check_alike(NET, TASKS, "x", train, rows((3,), "float64"))
  with pytest.raises(mtl.UserError, match=r"valid: input 'x' has shape \(N, 4\), expected \(N, 3\) as in train"):
    check_alike(NET, TASKS, "x", train, rows((4,), "float32"))
  with pytest.raises(mtl.UserError, match="valid: input 'x' is of dtype uint8, expected float32 as in train"):
    check_alike(NET, TASKS, "x", train, rows((3,), "uint8"))


def test_validation_data_may_have_another_shape_where_the_net_takes_it():
  trunk = mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (x.mean(axis=(1, 2)), state))
  net = mtl.arch.hard_sharing(trunk, {"a": mtl.from_linen(nn.Dense(1))})
  check_alike(net, {"a": TASKS["a"]}, "x", rows((4, 4, 3), "int64"), rows((6, 5, 3), "int32"))


def test_a_net_of_no_tasks():
  with pytest.raises(mtl.UserError, match="net is no multi-task net"):
    mtl.init_train_state(mtl.from_linen(nn.Dense(1)), TASKS, "equal", TX, BATCH, jax.random.key(0))


@pytest.mark.slow
def test_names_and_weights_by_name_train_as_what_they_stand_for():
  def after(balancer, engine):
    state = mtl.init_train_state(NET, TASKS, balancer, TX, BATCH, jax.random.key(0), engine=engine)
    return mtl.make_train_step(mtl.objective(NET, TASKS), balancer, TX, engine)(state, BATCH)

  state, metrics = after(mtl.balance.constant({"b": 3.0, "a": 2.0}), "losses")
  assert {name: float(weight) for name, weight in metrics["weights"].items()} == {"a": 2.0, "b": 3.0}
  wanted, _ = after(mtl.balance.constant([2.0, 3.0]), mtl.engine.losses())
  jax.tree.map(np.testing.assert_array_equal, state.params, wanted.params)


def test_a_batch_larger_than_the_data():
  with pytest.raises(
    mtl.UserError, match="batch_size is 5, but the data set has 4 examples.*: pass batch_size=4 or less"
  ):
    mtl.fit(NET, TASKS, "equal", TX, BATCH, steps=1, batch_size=5, progress=False)
