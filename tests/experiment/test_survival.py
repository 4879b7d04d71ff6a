"""Comparisons that are killed and go on, and several programs that train for one."""

import dataclasses
import hashlib
import json

import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax.cli.commands import commands_for
from mtl_jax.cli.compare import Compare
from mtl_jax.cli.main import _parse
from mtl_jax.cli.workers import numbers, words_of
from mtl_jax.experiment import Others, compare, join, runs
from tests._launch import finish, start
from tests.train._run import NET, TASKS, arrays


def _recipe(steps=6):
  splits = recipes.Splits(arrays(100, 0), arrays(40, 1), arrays(40, 2))
  return recipes.Recipe(
    "small", "Small.", lambda seed: splits, lambda names: NET.only(names), TASKS,
    lambda rate, steps: optax.adam(rate), 1e-2, steps, 32, 10,
  )  # fmt: skip


BALANCERS = {"equal": "equal", "../mine": "mgda"}  # a name that would lead elsewhere as a path
OPTIONS = {"seeds": 2, "progress": False}


def _scores(comparison):
  return {method.name: method.scores for method in comparison.methods}


@pytest.fixture
def trained(monkeypatch):
  """The titles of the runs that are trained from now on; each gives scores that are its own, at once."""
  found = []

  def train(experiment, splits, *, loop, progress):
    found.append(loop.title)
    number = int(hashlib.sha256(loop.title.encode()).hexdigest()[:8], 16) / 2**32
    metrics = {name: {TASKS[name].main_metric: number} for name in experiment.config.tasks}
    scores = {f"{name}/{metric}": number for name, own in metrics.items() for metric in own}
    history = [{"kind": "valid", "step": step, **scores} for step in (1, 2)]
    return mtl.train.Fit(None, {"w": np.ones(3)}, {}, 1, history, 0.5, 0.0), metrics

  monkeypatch.setattr(runs, "train_run", train)
  return found


@pytest.fixture
def whole(trained):
  comparison = compare(_recipe(), BALANCERS, say=lambda line: None, **OPTIONS)
  trained.clear()
  return comparison


class Killed(BaseException):
  pass


@pytest.mark.slow
def test_a_comparison_that_is_killed_repeats_no_finished_run(tmp_path, whole, trained):
  out = tmp_path / "out"

  def kill(line):
    if "equal seed 0" in line:
      raise Killed

  with pytest.raises(Killed):
    compare(_recipe(), BALANCERS, out=out, say=kill, **OPTIONS)
  assert trained == [f"single-task {task} seed {seed}" for task in TASKS for seed in (0, 1)] + ["equal seed 0"]
  with pytest.raises(mtl.UserError, match=r"holds a comparison: go on with it \(--resume\), or choose another"):
    compare(_recipe(), BALANCERS, out=out, **OPTIONS)
  trained.clear()
  told = []
  comparison = compare(_recipe(), BALANCERS, out=out, resume=True, say=told.append, **OPTIONS)
  assert trained == ["equal seed 1", "../mine seed 0", "../mine seed 1"]
  assert _scores(comparison) == _scores(whole) and len(told) == 8
  assert (out / "comparison.json").exists() and not (tmp_path / "mine").exists()
  trained.clear()
  more = compare(_recipe(), BALANCERS, out=out, resume=True, say=told.append, **OPTIONS | {"seeds": 3})
  assert trained == [f"{title} seed 2" for title in ("single-task kind", "single-task size", "equal", "../mine")]
  assert _scores(more)["equal"]["kind"][:2] == _scores(whole)["equal"]["kind"]


@pytest.mark.slow
def test_other_options_are_refused_and_damaged_runs_are_made_again(tmp_path, trained):
  options = {"out": tmp_path / "out", "say": lambda line: None, "single_task": False, "progress": False}
  first = compare(_recipe(), ["equal"], **options)
  with pytest.raises(mtl.UserError, match=r"was begun with other options: config/steps was 6, is 7\.$"):
    compare(_recipe(), ["equal"], resume=True, steps=7, **options)
  with pytest.raises(mtl.UserError, match=r"methods was \['equal'\], is \['mgda'\]"):
    compare(_recipe(), ["mgda"], resume=True, **options)
  with pytest.raises(mtl.UserError, match=r"kept/window was None, is 3"):
    compare(_recipe(), ["equal"], resume=True, kept={"window": 3}, **options)
  (kept,) = (tmp_path / "out" / "runs").glob("*.json")
  for damage in ("{", "[]", kept.read_text().replace('"equal"', '"mgda"')):
    kept.write_text(damage)
    trained.clear()
    with pytest.warns(UserWarning, match="is damaged .*: that run is made again"):
      again = compare(_recipe(), ["equal"], resume=True, **options)
    assert trained == ["equal seed 0"] and _scores(again) == _scores(first)


def test_another_program_joins(tmp_path, whole, trained):
  """All that this program does in the end is to read what the other, here in the same process, has made."""
  out, by_others = tmp_path / "out", []

  def begin():
    join(out, _recipe(), BALANCERS, seeds=2, first=2, say=by_others.append)

  comparison = compare(_recipe(), BALANCERS, out=out, others=Others(begin), say=lambda line: None, **OPTIONS)
  assert trained[:2] == ["equal seed 0", "equal seed 1"] and len(trained) == len(by_others) == 8
  assert _scores(comparison) == _scores(whole)
  with pytest.raises(mtl.UserError, match="holds no comparison to join"):
    join(tmp_path / "elsewhere", _recipe(), BALANCERS)


@pytest.mark.parametrize("cluster", ["processes", "local", "ray"])
@pytest.mark.slow
def test_jobs_share_the_work(cluster, tmp_path, monkeypatch):
  monkeypatch.setenv("RAY_worker_niceness", "0")  # or its workers wait for all other tests
  out = tmp_path / "out"
  options = ["--balancers", "equal", "dwa", "--dwa.window", "3", "--steps", "2", "--tasks", "left", "tilt"]
  words = ["compare", "digits", *options, "--jobs", "2", "--cluster", cluster, "--no-single-task", "--out", str(out)]
  ((code, told, _, err),) = finish([start(["-m", "mtl_jax", *words])])
  assert code == 0, err
  record = json.loads((out / "comparison.json").read_text())
  assert [method["name"] for method in record["methods"]] == ["equal", "dwa"]
  assert json.loads((out / "started.json").read_text())["kept"] == {"dwa": ["--window", "3"]}
  logs = "".join(path.read_text() for path in (out / "jobs").iterdir() if path.suffix in (".log", ".out"))
  assert "a job failed" not in err, logs
  for name in ("equal", "dwa"):
    assert f"{name} seed 0: left accuracy" in told
    assert cluster == "processes" or f"{name} seed 0: left accuracy" in logs  # this program has but waited


def test_a_command_as_words():
  words = ["compare", "my.py:big", "--balancers", "a", "b", "--no-single-task", "--seeds", "3", "--resume",
           "--learning-rate", "0.1", "--dwa.window", "3", "--recipe.on", "--out", "x y"]  # fmt: skip
  command, dotted = _parse(words)
  assert dataclasses.is_dataclass(command) and isinstance(command, Compare)
  again, dotted_again = _parse(words_of("compare", command, dotted))
  assert again == command and dotted_again == dotted
  assert commands_for(words)["compare"] is Compare
  with pytest.raises(mtl.UserError, match="--cluster: found --partition, expected one value for each option"):
    numbers(("--partition",))


@pytest.mark.parametrize("cluster", ["local", "ray"])
@pytest.mark.slow
def test_an_unknown_cluster_option_is_one_line(cluster, tmp_path):
  words = ["compare", "digits", "--jobs", "2", "--cluster", cluster, "--cluster.speed", "3", "--steps", "1"]
  ((code, _, lines, err),) = finish([start(["-m", "mtl_jax", *words, "--out", tmp_path / "out"])])
  assert code == 2 and len(lines) == 1 and lines[0].startswith(f"mtl-jax: {cluster} takes no jobs: "), err


def test_scores_survive_as_they_are(tmp_path):
  """NaN, infinities and every digit."""
  from mtl_jax.experiment.finished import Finished

  run = runs.Run({"a": {"x": np.pi, "y": float("nan"), "z": -float("inf")}}, [{"kind": "train", "v": 0.1}], 0.5, 3)
  Finished(tmp_path).put("t", 0, run)
  found = Finished(tmp_path).get("t", 0)
  np.testing.assert_equal(found._asdict(), run._asdict())
