"""The best model of a run, loaded by whoever has the net."""

import json
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.train.checkpoint import Checkpoints
from tests.train._run import NET, TASKS, Trunk, arrays, digest, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A run whose best model is not its last one, and its directory."""
  directory = tmp_path_factory.mktemp("load") / "run"
  return run(directory, steps=20, score=lambda metrics: 1.0), directory


def test_the_best_model_without_data_and_optimizer(trained, monkeypatch):
  fit, directory = trained
  read = []
  whole = Checkpoints._read
  monkeypatch.setattr(
    Checkpoints, "_read", lambda self, step, **items: read.append(items) or whole(self, step, **items)
  )
  loaded = mtl.load(directory, NET, TASKS, warn=pytest.fail)
  assert loaded.step == fit.best_step == 10
  assert digest((loaded.params, loaded.state)) == digest((fit.params, fit.net_state))
  (leaves,) = (items["tree"].item for items in read if "tree" in items)
  assert leaves and all(name.startswith("best.") for name in leaves)
  assert loaded.data == mtl.data.describe(arrays(1, 0))
  test = {"x": arrays(20, 5)["x"]}
  expected = mtl.train.predict_all(NET, TASKS, fit.params, fit.net_state, test)
  jax.tree.map(np.testing.assert_array_equal, loaded.predict(test), expected)


@pytest.mark.parametrize(
  "fit, at_once",
  [
    ({"batch_size": 2, "accumulate": 1}, 8),
    ({"batch_size": 100, "accumulate": 10}, 40),
    ({"batch_size": 4096, "accumulate": 1}, 256),
    ({}, 256),
    ("none", 256),
    ({"batch_size": "2", "accumulate": 1}, 256),
    ({"batch_size": 0, "accumulate": 1}, 256),
  ],
)
def test_it_takes_as_many_examples_at_a_time_as_the_run_evaluated(trained, fit, at_once):
  """What no run writes is as if it were not known."""
  loaded = mtl.load(trained[1], NET, TASKS)
  own = loaded._replace(kept=loaded.kept._replace(config={"fit": fit}))
  assert own.at_once == at_once
  sizes = []
  net = own.problem.net
  seen = mtl.Net(net.init, lambda p, s, x, **how: sizes.append(len(x)) or net.apply(p, s, x, **how))
  own = own._replace(problem=mtl.Problem(seen, TASKS))
  own.predict({"x": arrays(300, 0)["x"]})
  own.evaluate({"test": arrays(300, 0)})
  assert set(sizes) == {min(at_once, 300)}


def test_a_problem_or_the_net_alone(trained):
  fit, directory = trained
  for arguments in [(mtl.Problem(NET, TASKS),), (NET,)]:
    assert digest(mtl.load(directory, *arguments).params) == digest(fit.params)


def test_without_validation_data_the_last_model(tmp_path):
  fit = run(tmp_path / "run", steps=6, valid=None, eval_every=None)
  loaded = mtl.load(tmp_path / "run", NET, TASKS)
  assert loaded.step == 6 and digest((loaded.params, loaded.state)) == digest((fit.params, fit.net_state))


def _net(width, names=tuple(TASKS), trunk=Trunk):
  heads = {name: mtl.from_linen(nn.Dense(width)) for name in names}
  return mtl.arch.hard_sharing(mtl.from_linen(trunk()), heads)


class Deep(Trunk):
  @nn.compact
  def __call__(self, x, train=False):
    return nn.Dense(32, name="last")(super().__call__(x, train))


def test_mistakes_are_one_line(trained, tmp_path):
  _, directory = trained
  other = {"kind": TASKS["kind"], "colour": TASKS["size"]}
  empty = shutil.copytree(directory, tmp_path / "empty", ignore=shutil.ignore_patterns("checkpoints"))
  for arguments, message in [
    ((tmp_path, NET), "holds no run: there is no config.json in it"),
    ((empty, NET), "has no checkpoint yet: wait for its first one, or train"),
    ((directory, _net(2), TASKS), r"of another model: .*size.* is float32\[1\], expected float32\[2\]"),
    ((directory, _net(2, trunk=Deep)), r"of another model: .* is missing, expected float32"),
    ((directory, NET, other), "has the tasks kind, size, found kind, colour"),
    ((directory, _net(2, ("kind", "colour"))), "has the task 'size', the net only colour, kind"),
    ((directory, NET, None, "y"), "has no input 'y', only 'x'"),
  ]:
    arguments, inputs = arguments[:3], arguments[3:]
    with pytest.raises(mtl.UserError, match=message) as caught:
      mtl.load(*arguments, **({"inputs": inputs[0]} if inputs else {}))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_the_run_removes_meanwhile(tmp_path):
  """It keeps two; the newest is the one to load."""
  with Checkpoints(tmp_path / "c") as writing:
    for step in (1, 2):
      writing.save(step, {"w": jnp.float32(step)}, {})
    writing._finish()
    with Checkpoints(tmp_path / "c", read_only=True) as reading:

      def overtaken(step, template):
        if step == 2:
          for newer in (3, 4):
            writing.save(newer, {"w": jnp.float32(newer)}, {})
          writing._finish()
        return reading.restore(step, template)

      step, tree, _ = reading.restore_newest({"w": jnp.float32(0)}, pytest.fail, overtaken)
      assert step == 4 and tree["w"] == 4


def test_keys_in_a_nets_state(tmp_path):
  """They are keys again; and inputs of 64 bits are, as in training, of 32."""

  def init(key, x):
    shared = {"w": jax.random.normal(key, (x.shape[1], 1))}
    return {"shared": shared, "task": {"y": {}}}, {"shared": {"key": key}, "task": {"y": {}}}

  net = mtl.Net(init, lambda params, state, x: ({"y": x @ params["shared"]["w"]}, state))
  data = {"x": np.ones((4, 2)), "y": np.ones(4, np.float32)}
  tasks, tx = {"y": mtl.tasks.regression("y")}, optax.sgd(0.1)
  fit = mtl.fit(net, tasks, mtl.balance.equal(), tx, data, steps=1, batch_size=2, run_dir=tmp_path, progress=False)
  loaded = mtl.load(tmp_path, net)
  assert loaded.state["shared"]["key"] == fit.net_state["shared"]["key"]


@pytest.mark.parametrize(
  "values",
  [{"kind": {}}, {"kind": {"temperature": -1.0}}, {"size": {"temperature": 1.0}}, {"size": {"radius": float("inf")}}],
)
def test_a_calibration_that_is_none_is_one_line(trained, tmp_path, values):
  run_dir = shutil.copytree(trained[1], tmp_path / "run")
  (run_dir / "calibration.json").write_text(json.dumps({"step": 10, "tasks": values}))
  (name,) = values
  with pytest.raises(mtl.UserError, match=rf"calibration.json: task '{name}' is calibrated by .*expected .*Delete it"):
    mtl.load(run_dir, NET, TASKS)
