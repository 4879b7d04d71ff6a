"""Runs that begin with another run: its trunk or all that is equal, a further task, and resuming."""

import inspect
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import UserError, transfer
from mtl_jax._core.paths import by_path
from tests.train._run import TASKS, Trunk, arrays

TRUNK = mtl.from_linen(Trunk())  # with batch statistics and dropout
HEADS = {"kind": mtl.from_linen(mtl.nn.MLP((), 2)), "size": mtl.from_linen(mtl.nn.MLP((), 1))}
MORE = TASKS | {"low": mtl.tasks.regression("low")}


def data(count, seed):
  found = arrays(count, seed)
  return found | {"low": -found["size"]}


def fit(trunk, heads, tasks, run_dir=None, steps=3, **options):
  net = mtl.arch.hard_sharing(trunk, heads)
  options = {"batch_size": 16, "run_dir": run_dir, "progress": False, "valid": data(20, 1)} | options
  return mtl.fit(net, tasks, "equal", optax.adam(1e-2), data(60, 0), steps=steps, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  path = tmp_path_factory.mktemp("first") / "run"
  return path, fit(TRUNK, HEADS, TASKS, path)


def same(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_best_weights_are_those_of_the_run(done):
  path, run = done
  same(mtl.train.best_weights(path), by_path({"params": run.params, "state": run.net_state}))


def test_a_task_is_added_and_the_others_predict_to_the_bit_as_before(done, tmp_path):
  path, run = done
  told = []
  heads, start = HEADS | {"low": mtl.from_linen(mtl.nn.MLP((), 1))}, transfer.from_run(path, say=told.append)
  frozen = ["shared/", "task/(kind|size)/"]
  new = fit(transfer.in_inference(TRUNK), heads, MORE, tmp_path / "run", start=start, frozen=frozen)
  (line,) = told
  assert line.startswith(f"taken from {path}: shared (") and line.endswith("begun anew: task/low (2 arrays).")
  before, after = (
    mtl.train.predict_all(mtl.arch.hard_sharing(TRUNK, h), TASKS, fitted.params, fitted.net_state, data(9, 2))
    for h, fitted in ((HEADS, run), (heads, new))
  )
  same({name: after[name] for name in TASKS}, before)
  assert json.loads((tmp_path / "run" / "config.json").read_text())["fit"]["start"] == "from_run.<locals>.start"


@pytest.mark.slow
def test_a_run_that_goes_on_does_not_need_the_other(done, tmp_path):
  path, _ = done
  shutil.copytree(path, tmp_path / "other")
  options = {"start": transfer.from_run(tmp_path / "other", "trunk", say=lambda line: None)}
  whole = fit(TRUNK, HEADS, TASKS, **options, steps=4, eval_every=2)
  fit(TRUNK, HEADS, TASKS, tmp_path / "run", **options, steps=2, eval_every=2)
  shutil.rmtree(tmp_path / "other")
  resumed = fit(TRUNK, HEADS, TASKS, tmp_path / "run", **options, steps=4, eval_every=2, resume=True)
  same(resumed.state.params, whole.state.params)


def test_the_trunk_alone(done):
  path, run = done
  told = []
  params, state = mtl.arch.hard_sharing(TRUNK, HEADS).init(jax.random.key(5), data(2, 0)["x"])
  found, _ = transfer.from_run(path, "trunk", say=told.append)(params, state)
  same(found["shared"], run.params["shared"])
  same(found["task"], params["task"])


def test_mistakes(done, tmp_path):
  path, _ = done
  x = jnp.asarray(data(2, 0)["x"])
  other = mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.MLP((5,))), {"a": HEADS["kind"]}).init(jax.random.key(0), x)
  with pytest.raises(UserError, match="nothing of the run in .* fits"):
    transfer.from_run(path)(*other)
  with pytest.raises(UserError, match="the trunk of the run in .* is another: it has no params/shared/Dense_0/bias"):
    transfer.from_run(path, "trunk")(*other)
  with pytest.raises(UserError, match="holds no run"):
    transfer.from_run(tmp_path)(*other)
  with pytest.raises(UserError, match="unknown parts 'head'"):
    inspect.unwrap(transfer.from_run)(path, "head")
  with pytest.raises(UserError, match=r"start returned 'params/task/a' as missing|start returned"):
    fit(TRUNK, HEADS, TASKS, start=lambda params, state: ({"shared": params["shared"]}, state))
