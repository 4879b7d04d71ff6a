"""A model as a directory in the layout of Hugging Face: it opens like its run, and says to the bit what that says."""

import hashlib
import inspect
import json
import subprocess

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import UserError
from mtl_jax.export import export
from mtl_jax.transfer import read_safetensors
from tests.train._run import NET, TASKS, Trunk, arrays, run

X = {"x": arrays(9, 3)["x"]}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  """A run with batch statistics, a calibration and test scores."""
  found = tmp_path_factory.mktemp("run") / "run"
  run(found, steps=20, score=lambda metrics: 1.0)  # the best model is not the last one
  calibration = {"kind": {"temperature": 2.0}, "size": {"radius": 0.5}}
  (found / "calibration.json").write_text(json.dumps({"step": 10, "tasks": calibration}))
  (found / "test.json").write_text(json.dumps({"best_step": 10, "test": {"kind": {"accuracy": 0.75, "f1": np.nan}}}))
  return found


@pytest.fixture(scope="module")
def trained(directory):
  return mtl.load(directory, NET, TASKS)


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
  path = tmp_path_factory.mktemp("export") / "model"
  export(trained, path, X, format="safetensors")
  return path


def same(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_it_opens_like_the_run(written, trained):
  again = mtl.load(written, NET, TASKS)
  same((again.params, again.state), (trained.params, trained.state))
  same(again.predict(X), trained.predict(X))
  assert again.step == 10 and again.kept.calibration == trained.kept.calibration and again.data == trained.data
  test = {"test": arrays(50, 4)}
  assert again.evaluate(test) == trained.evaluate(test)
  assert mtl.load(written, NET).step == 10  # the parameters alone


def test_what_lies_in_it(written, directory):
  assert {path.name for path in written.iterdir()} == {
    *("model.safetensors", "config.json", "data.json", "calibration.json", "test.json", "README.md")
  }
  same(read_safetensors(written / "model.safetensors"), mtl.train.best_weights(directory))
  same(mtl.train.best_weights(written), mtl.train.best_weights(directory))
  page = (written / "README.md").read_text()
  assert page.startswith("---\nlibrary_name: mtl-jax\n") and "# license: which one is for you to choose" in page
  assert "Tasks: `kind`, `size`" in page and "| kind | accuracy | 0.75 |" in page and "f1" not in page
  assert "| `x` | N, 6 | float32 |" in page and "| `kind.probability` | N, 2 | float32 |" in page


def test_the_card_has_test_scores_and_a_checksum_that_a_shell_finds_too(written):
  card = json.loads(written.with_name("model.json").read_text())
  assert card["test"] == {"kind": {"accuracy": 0.75}} and card["checked"] == {"examples": 9, "difference": 0.0}
  shell = "find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
  found = subprocess.run(shell, shell=True, cwd=written, capture_output=True, text=True, check=True).stdout
  assert found.split()[0] == card["sha256"]


def test_some_of_the_tasks(trained, tmp_path):
  """Whoever has the net of the run opens it, and whoever has a net of these tasks alone; it can be written anew."""
  export(trained, tmp_path / "size", X, format="safetensors", tasks=["size"])
  assert not any("task/kind" in name for name in read_safetensors(tmp_path / "size" / "model.safetensors"))
  head = mtl.arch.hard_sharing(mtl.from_linen(Trunk()), {"size": mtl.from_linen(nn.Dense(1))})
  expected = {"size": trained.predict(X)["size"]}
  for net, tasks in ((NET, TASKS), (head, {"size": TASKS["size"]})):
    again = mtl.load(tmp_path / "size", net, tasks)
    same(again.predict(X), expected)
  export(mtl.load(tmp_path / "size", NET, TASKS), tmp_path / "again", X, format="safetensors")
  same(mtl.load(tmp_path / "again", NET, TASKS).predict(X), expected)
  with pytest.raises(UserError, match="has the tasks kind, size, found kind"):
    inspect.unwrap(mtl.load)(tmp_path / "size", NET, {"kind": TASKS["kind"]})


@pytest.mark.slow
def test_nets_without_a_cut_keep_all_arrays(tmp_path):
  dense = {name: mtl.from_linen(nn.Dense(4)) for name in TASKS}
  net = mtl.arch.film(mtl.arch.chain(mtl.from_linen(nn.Dense(8)), mtl.from_linen(nn.Dense(8))), dense)
  assert net.cut is None
  tasks = {"kind": mtl.tasks.classification("kind", 4), "size": mtl.tasks.classification("kind", 4)}
  options = {"steps": 1, "batch_size": 8, "run_dir": tmp_path / "run", "progress": False}
  mtl.fit(net, tasks, "equal", optax.sgd(0.1), arrays(20, 0), **options)
  trained = mtl.load(tmp_path / "run", net, tasks)
  export(trained, tmp_path / "model", X, format="safetensors", tasks=["size"])
  same(mtl.load(tmp_path / "model", net, tasks).predict(X), {"size": trained.predict(X)["size"]})


@pytest.mark.parametrize("how", ["changed", "cut", "gone", "said"])
def test_damage_is_told(trained, tmp_path, how):
  path = tmp_path / "model"
  mtl.train.write_model(trained, path)
  file, config = path / "model.safetensors", json.loads((path / "config.json").read_text())
  content = bytearray(file.read_bytes())
  content[-1] ^= 1
  if how == "said":
    (path / "config.json").write_text(json.dumps(config | {"model": {"step": 10}}))
  elif how == "gone":
    file.unlink()
  else:
    file.write_bytes(content if how == "changed" else content[:-5])
  expected = {"said": "describes no model", "gone": "No such file"}.get(how, "is damaged, or of another model")
  with pytest.raises(UserError, match=expected):
    inspect.unwrap(mtl.load)(path, NET, TASKS)


def test_another_net_is_told(written):
  other = mtl.arch.hard_sharing(mtl.from_linen(Trunk()), {name: mtl.from_linen(nn.Dense(3)) for name in TASKS})
  with pytest.raises(UserError, match=r"is of another model: 'params/task/kind/bias' is float32\[2\]"):
    inspect.unwrap(mtl.load)(written, other, TASKS)


def test_a_run_does_not_go_on_in_it(written):
  with pytest.raises(UserError, match="model holds a model alone: begin a new run with it"):
    run(written, steps=20, resume="anyway")
  assert not (written / "checkpoints").exists()


def test_places_that_are_taken(trained, tmp_path):
  (tmp_path / "mine").mkdir()
  (tmp_path / "mine" / "file").write_text("mine")
  with pytest.raises(UserError, match="mine is a directory that is not empty: choose another name"):
    inspect.unwrap(export)(trained, tmp_path / "mine", X, format="safetensors")
  assert (tmp_path / "mine" / "file").read_text() == "mine"
  (tmp_path / "empty").mkdir()
  (tmp_path / "empty.partial").mkdir()  # what a killed process has left
  (tmp_path / "empty.partial" / "rest").write_text("")
  export(trained, tmp_path / "empty", X, format="safetensors")
  assert not (tmp_path / "empty" / "rest").exists() and (tmp_path / "empty" / "README.md").exists()
  assert hashlib.sha256((tmp_path / "empty" / "model.safetensors").read_bytes()).hexdigest()
