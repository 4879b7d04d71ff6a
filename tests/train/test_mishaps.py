"""Losses that are not finite: tasks left out of a step, and runs that go back with a lower learning rate."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.train.log import read_log
from tests.engine._problem import problem
from tests.train._run import arrays, digest, run
from tests.train._run import programs as run_programs
from tests.train.test_absent import same, without

TX = optax.adam(1e-2)
HEADS = {"size": mtl.from_linen(nn.Dense(1))}


def _made(balancer, engine, nonfinite, cut=True, change=lambda tasks: tasks):
  net, tasks, batch, _ = problem(3, masked=True)
  tasks = change(tasks)
  net = net if cut else mtl.Net(net.init, net.apply)
  state = mtl.init_train_state(net, tasks, balancer, TX, batch, jax.random.key(0), engine=engine)
  step = mtl.make_train_step(mtl.objective(net, tasks), balancer, TX, engine, nonfinite=nonfinite)
  return jax.jit(step), state, batch


@pytest.mark.parametrize(
  ("balancer", "engine", "cut", "label"),
  [
    ("pcgrad", "stacked", True, np.inf),
    ("pcgrad", "stacked", False, np.nan),
    ("mgda", "factored", False, np.inf),
    ("uncertainty", None, True, np.nan),
    ("imtl_g", "gram", True, np.inf),
  ],
)
def test_a_dropped_task_is_absent(balancer, engine, cut, label):
  drop, state, batch = _made(balancer, engine, "drop", cut)
  absent, *_ = _made(balancer, engine, "stop", cut)
  state, _ = drop(state, batch)
  bad = batch | {"y_t1": batch["y_t1"].at[0].set(label), "m_t1": jnp.ones_like(batch["m_t1"])}
  found, metrics = drop(state, bad)
  expected, _ = absent(state, without(batch, "t1"))
  both = [jax.tree.leaves((s.params, s.opt_state, s.balancer)) for s in (found, expected)]
  for a, b in zip(*both, strict=True):
    if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
      np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)
  assert not any(same(found.params["shared"], state.params["shared"]))
  assert all(same(found.params["task"]["t1"], state.params["task"]["t1"]))
  assert found.nonfinite.tolist() == [0, 1, 0] and int(found.first_nonfinite) == 1 and int(found.skipped) == 0
  assert not bool(metrics["present"]["t1"]) and float(metrics["weights"]["t1"]) == 0.0
  again, _ = drop(found, batch)  # and it is there again
  assert not any(same(again.params["task"]["t1"], found.params["task"]["t1"]))


def test_a_bilevel_step_drops_no_task():
  net, tasks, *_ = problem(2)
  with pytest.raises(mtl.UserError, match="nonfinite is 'drop', expected 'skip', for example"):
    mtl.make_bilevel_step(mtl.objective(net, tasks), mtl.bilevel.auto_lambda(), TX, nonfinite="drop")


def test_where_all_are_dropped_nothing_changes():
  drop, state, batch = _made("mgda", None, "drop")
  after, _ = drop(state, batch | {f"y_t{i}": jnp.full_like(batch[f"y_t{i}"], np.nan) for i in range(3)})
  assert all(same(after.params, state.params)) and all(same(after.opt_state, state.opt_state))
  assert int(after.empty) == 1 and after.nonfinite.tolist() == [1, 1, 1]


def test_a_loss_outside_of_the_domain_is_dropped():
  below = lambda tasks: tasks | {"t2": mtl.Task(lambda y, batch: y[:, 0] * 0 - 1.0, mask=tasks["t2"].mask)}  # noqa: E731
  drop, state, batch = _made("imtl_l", None, "drop", change=below)
  balancer = mtl.balance.as_balancer("imtl_l")
  after, _ = drop(state, batch)
  expected = [0, 0, 0] if np.max(balancer.losses_above) == -np.inf else [0, 0, 1]
  assert after.nonfinite.tolist() == expected and not any(same(after.params["shared"], state.params["shared"]))


def _nan_gradient(params, state, batch, key):
  """Losses of finite value, one with a gradient of NaN."""
  w = params["shared"]
  return {"a": jnp.sum(w**2), "b": jnp.sqrt(jnp.sum(w * 0.0))}, {"state": state}


def test_a_gradient_that_is_not_finite_changes_nothing():
  params = {"shared": jnp.ones(2), "task": {"a": {}, "b": {}}}
  step = mtl.make_train_step(_nan_gradient, "equal", optax.sgd(0.1), nonfinite="drop")
  net = mtl.Net(lambda key, x: (params, {}), lambda *_, **__: ({}, {}))
  tasks = dict.fromkeys("ab", mtl.tasks.regression("y"))
  state = mtl.init_train_state(net, tasks, "equal", optax.sgd(0.1), {"x": jnp.ones(1)}, jax.random.key(0))
  after, _ = jax.jit(step)(state, {"x": jnp.ones(1)})
  assert all(same(after.params, state.params)) and int(after.skipped) == 1


def test_too_little_memory_is_one_line_with_advice():
  def step(state, batch):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

  short = run_programs("stop")._replace(step=step)
  with pytest.raises(mtl.UserError, match=r"memory for a step of 32 examples .*RESOURCE_EXHAUSTED.*accumulate=2.*plan"):
    run(steps=3, loop={"programs": short})
  other = short._replace(step=lambda state, batch: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    run(steps=3, loop={"programs": other})


# At this rate gradient descent on the linear task diverges, at a quarter of it no more.
RATE = 1.3


def _diverging(steps, run_dir=None, rate=RATE, **options):
  return mtl.fit(
    mtl.arch.hard_sharing(mtl.Net(lambda key, x: ({}, {}), lambda p, s, x: (x, s)), HEADS),
    {"size": mtl.tasks.regression("size")},
    "equal",
    optax.sgd(rate),
    arrays(500, 0),
    steps=steps,
    batch_size=32,
    nonfinite="rollback",
    run_dir=run_dir,
    progress=False,
    score=mtl.train.mean_loss,
    eval_every=40,
    valid=arrays(100, 1),
    **options,
  )


@pytest.mark.slow
def test_a_run_that_diverges_goes_back_with_a_lower_rate(tmp_path):
  whole = _diverging(400, tmp_path / "whole")
  lines = [line for line in read_log(tmp_path / "whole") if line["kind"] == "rollback"]
  assert lines and [line["rollbacks"] for line in lines] == list(range(1, len(lines) + 1))
  assert lines[-1]["learning_rate_factor"] == 0.5 ** len(lines) and lines[0]["from"] > lines[0]["step"]
  steps = [line["step"] for line in read_log(tmp_path / "whole") if line["kind"] == "train"]
  assert steps == sorted(set(steps)) and steps[-1] == 400
  assert whole.history[-1]["size/loss"] < 0.1 and int(whole.state.step) == 400
  _diverging(200, tmp_path / "parts")
  resumed = _diverging(400, tmp_path / "parts", resume=True)
  assert digest(resumed.state) == digest(whole.state) and resumed.history[-1]["step"] == 400


def test_a_run_that_diverges_at_any_rate_is_given_up():
  with pytest.raises(mtl.train.NonFiniteError, match="gone back 5 times already"):
    _diverging(400, rate=1e9)
