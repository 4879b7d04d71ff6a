"""Frozen parameters: no gradient, no optimizer state, no part in G, no backward pass below what is trained."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._core.paths import by_path
from mtl_jax._jaxpr.equations import inner
from mtl_jax.cli.main import main
from tests.engine._problem import problem
from tests.train._run import NET, TASKS, TX, arrays, run

LOW = "shared/Dense_0/"
ENGINES = {
  "stacked": mtl.engine.stacked(),
  "gram": mtl.engine.gram(),
  "factored": mtl.engine.factored(),
  "features": mtl.engine.features(),
}


def setup(engine=None, frozen=LOW, tx=None, **kind):
  net, tasks, batch, _ = problem(3, **kind)
  tx, balancer = optax.adam(1e-2) if tx is None else tx, mtl.balance.mgda()
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=engine, frozen=frozen)
  return mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine, frozen=frozen), state, batch, net, tasks


def products(eqns):
  return sum((eqn.primitive.name == "dot_general") + products(inner(eqn)) for eqn in eqns)


@pytest.mark.parametrize(
  ("engine", "cut"), [("stacked", False), ("gram", True), ("factored", False), ("features", True)]
)
@pytest.mark.slow
def test_weights_are_those_of_the_trained_parameters(engine, cut):
  step, state, batch, net, tasks = setup(ENGINES[engine], cut=cut)
  new, metrics = jax.jit(step)(state, batch)
  before, after = by_path(state.params), by_path(new.params)
  moved = {path for path in before if (before[path] != after[path]).any()}
  assert moved == {path for path in before if not path.startswith(LOW)}
  assert not [path for path in by_path(state.opt_state) if "Dense_0" in path and "shared" in path]
  if engine != "features":
    objective = mtl.objective(net, tasks)

    def losses(high):
      shared = state.params["shared"] | {"Dense_1": high}
      return jnp.stack(list(objective(state.params | {"shared": shared}, state.state, batch)[0].values()))

    @jax.jit
    def weights(high):
      gram = mtl.balance.gram(jax.jacrev(losses)(high))
      return mtl.balance.mgda().weigh(mtl.balance.Stats(jnp.ones(3), gram), jnp.zeros(()))[0]

    expected = weights(state.params["shared"]["Dense_1"])
    np.testing.assert_allclose(list(metrics["weights"].values()), expected, rtol=1e-3, atol=1e-5)


def test_no_backward_pass_goes_below_the_first_trained_layer():
  """A step of one loss: two products fewer, the gradients of the first layer's kernel and of the second's input."""
  engine = mtl.engine.losses()
  net, tasks, batch, _ = problem(1)
  balancer, tx, counts = mtl.balance.equal(), optax.sgd(0.1), {}
  for frozen in ("", LOW):
    patterns = [frozen] if frozen else []
    state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=engine, frozen=patterns)
    step = mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine, frozen=patterns)
    counts[frozen] = products(jax.make_jaxpr(step)(state, batch).eqns)
  assert counts[LOW] <= counts[""] - 2


def test_balancers_that_remember_gradients_and_heads_that_are_frozen():
  net, tasks, batch, _ = problem(2)
  balancer, tx, frozen = mtl.balance.moco(), optax.adam(1e-2), [LOW, "task/t1/"]
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), frozen=frozen)
  assert len(jax.tree.leaves(state.balancer.tracked)) == 2
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, frozen=frozen))
  new = state
  for _ in range(3):
    new, _ = step(new, batch)
  for path, leaf in by_path(state.params).items():
    still = path.startswith(LOW) or path.startswith("task/t1/")
    assert (leaf == by_path(new.params)[path]).all() == still, path


@pytest.mark.slow
def test_fit_stores_what_is_frozen_and_resumes_with_the_same_only(tmp_path):
  frozen = ["Dense_0/kernel"]
  programs = mtl.train.compile_programs(NET, TASKS, mtl.balance.pcgrad(), TX, arrays(500, 0), frozen=frozen)
  result = run(tmp_path / "run", steps=10, frozen=frozen, loop={"programs": programs})
  start = programs.create(jax.random.key(0)).params
  np.testing.assert_array_equal(result.params["shared"]["Dense_0"]["kernel"], start["shared"]["Dense_0"]["kernel"])
  assert json.loads((tmp_path / "run" / "config.json").read_text())["fit"]["frozen"] == frozen
  with pytest.raises(mtl.UserError, match="fit/frozen was"):
    run(tmp_path / "run", steps=10, resume=True)


@pytest.mark.slow
def test_command_line_and_plan(tmp_path, capsys):
  options = "train digits --balancer mgda --steps 2 --tasks left tilt --frozen shared/Conv_0 --run-dir".split()
  assert main([*options, str(tmp_path / "run")]) == 0
  assert main(["evaluate", str(tmp_path / "run")]) == 0
  config = json.loads((tmp_path / "run" / "config.json").read_text())
  assert config["frozen"] == ["shared/Conv_0"]
  assert main([*options[:-3], "--frozen", "shared/Convv", "--run-dir", str(tmp_path / "other")]) == 2
  assert "frozen: no parameter matches 'shared/Convv'" in capsys.readouterr().err


def test_rules_place_what_is_trained():
  net, tasks, batch, _ = problem(2)
  tx, balancer, mesh = optax.adam(1e-2), mtl.balance.mgda(), mtl.make_mesh("data=1", jax.devices()[:1])
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), frozen=LOW)
  placed = mtl.shard.state_shardings(state, tx, mesh, mtl.shard.fsdp(1), LOW)
  assert jax.tree.structure(placed.opt_state) == jax.tree.structure(state.opt_state)
  assert any(placed.params["shared"]["Dense_0"]["kernel"].spec)


@pytest.mark.parametrize(
  ("frozen", "message"),
  [
    ("shared/Dence_0", r"frozen: no parameter matches 'shared/Dence_0': there are shared/Dense_0/bias"),
    ("(", r"frozen: '\(' is no regular expression"),
    (".*", "frozen: all parameters match, so nothing is left to train"),
  ],
)
def test_mistakes(frozen, message):
  with pytest.raises(mtl.UserError, match=message):
    setup(frozen=frozen)


def test_a_state_made_for_another_step_is_an_error():
  step, _, batch, net, tasks = setup()
  for other, message in (
    ({"frozen": ()}, "another optimizer, or other frozen parameters"),
    ({"tx": optax.sgd(1.0)}, "another optimizer"),
    ({"balancer": mtl.balance.uncertainty()}, "another balancer"),
  ):
    options = {"tx": optax.adam(1e-2), "balancer": mtl.balance.mgda(), "frozen": LOW} | other
    balancer, tx = options.pop("balancer"), options.pop("tx")
    state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), **options)
    with pytest.raises(mtl.UserError, match=f"the train state was made for {message}"):
      jax.eval_shape(step, state, batch)
