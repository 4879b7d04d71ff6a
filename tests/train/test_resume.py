"""Resuming: longer runs, what is refused, one process at a time, interrupts, and directories that come to harm."""

import dataclasses
import json
import signal
import subprocess
import sys
import time

import flax.linen as nn
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax._core.files import LOCK, locked
from mtl_jax.experiment import configure, open_trained, train_run
from mtl_jax.experiment.run import compile_run
from mtl_jax.recipes._recipe import adamw_cosine
from mtl_jax.train.log import read_log
from tests._launch import finish, start
from tests.train._run import NET, TASKS, TX, Trunk, arrays, digest, run


@pytest.fixture(scope="module")
def unbroken():
  return run(steps=30)


@pytest.fixture
def run_of_20(tmp_path):
  run(tmp_path / "run", steps=20)
  return tmp_path / "run"


def test_a_run_that_goes_on_to_more_steps_is_the_longer_run(run_of_20, unbroken):
  resumed = run(run_of_20, steps=30, resume=True)
  assert digest(resumed.state) == digest(unbroken.state)
  assert digest(resumed.params) == digest(unbroken.params) and resumed.best_step == unbroken.best_step
  losses = [[line.get("losses/kind") for line in result.history] for result in (resumed, unbroken)]
  assert losses[0] == losses[1] and len(read_log(run_of_20)) == len(unbroken.history)
  config = json.loads((run_of_20 / "config.json").read_text())
  assert config["fit"]["steps"] == 30 and config["resumed"] == [{"step": 20, "steps": [20, 30]}]
  run(run_of_20, steps=30, resume=True)
  assert json.loads((run_of_20 / "config.json").read_text()) == config


def test_fewer_steps_than_done_are_refused(run_of_20):
  before = (run_of_20 / "config.json").read_text()
  with pytest.raises(mtl.UserError, match=r"has done 20 steps already, so steps cannot be 10: choose more\.$"):
    run(run_of_20, steps=10, resume=True)
  assert (run_of_20 / "config.json").read_text() == before


@pytest.mark.slow
def test_eval_every_stays_when_it_is_not_given(tmp_path):
  options = {"eval_every": None, "loop": {"checkpoint_every": 20}}
  run(tmp_path / "run", steps=20, **options)
  resumed = run(tmp_path / "run", steps=30, resume=True, **options)
  assert [line["step"] for line in resumed.history if line["kind"] == "valid"] == list(range(2, 31, 2))


def test_early_stopping_survives(tmp_path):
  options = {"patience": 2, "score": lambda metrics: 1.0}  # never better than the first evaluation
  run(tmp_path / "run", steps=20, **options)
  resumed = run(tmp_path / "run", steps=60, resume=True, **options)
  assert int(resumed.state.step) == 30 and resumed.best_step == 10


@pytest.mark.parametrize("keep", [1, 3])
def test_so_many_checkpoints_stay_and_the_best_model(keep, tmp_path):
  options = {"score": lambda metrics: 1.0, "loop": {"keep": keep, "checkpoint_every": 10}}
  first = run(tmp_path / "run", steps=40, **options)
  left = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
  assert left == {str(step) for step in (10, 20, 30, 40)[-keep:]}
  again = run(tmp_path / "run", steps=41, resume=True, **options)
  assert first.best_step == again.best_step == 10
  assert digest(again.params) == digest(first.params)


def _other_order(run_dir, **options):
  tasks = dict(reversed(TASKS.items()))
  return mtl.fit(
    NET, tasks, mtl.balance.pcgrad(), TX, arrays(500, 0), valid=arrays(100, 1), batch_size=32, eval_every=10,
    run_dir=run_dir, resume=True, progress=False, **options,
  )  # fmt: skip


def test_tasks_in_another_order_are_refused(run_of_20):
  with pytest.raises(mtl.UserError, match=r"fit/tasks was \['kind', 'size'\], is \['size', 'kind'\]\.$"):
    _other_order(run_of_20, steps=20)
  path = run_of_20 / "config.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | {"fit": _reordered(path)}))
  with pytest.raises(mtl.UserError, match=r"in the order \['kind', 'size'\], expected \['size', 'kind'\]"):
    _other_order(run_of_20, steps=20)


def _reordered(path):
  return json.loads(path.read_text())["fit"] | {"tasks": ["size", "kind"]}


def test_one_process_at_a_time(run_of_20, tmp_path):
  with locked(run_of_20):
    with pytest.raises(mtl.UserError, match="run is in use by another process: wait until that has ended"):
      run(run_of_20, steps=30, resume=True)
  with locked(tmp_path / "new"):
    with pytest.raises(mtl.UserError, match="new is in use by another process"):
      run(tmp_path / "new", steps=10)
  run(tmp_path / "new", steps=10)  # a lock alone is no run


def test_the_lock_of_a_killed_process_blocks_nobody(tmp_path):
  code = f"import fcntl, time; file = open({str(tmp_path / LOCK)!r}, 'a'); fcntl.flock(file, fcntl.LOCK_EX)"
  code += "; print(flush=True); time.sleep(60)"
  with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
    process.stdout.readline()
    with pytest.raises(mtl.UserError, match="in use by another process"), locked(tmp_path):
      pass
    process.send_signal(signal.SIGKILL)
  with locked(tmp_path):
    pass


@pytest.mark.parametrize(
  ("place", "message"),
  [
    ("file", "is a file, expected a directory"),
    ("file/below", "cannot use .*file/below: Not a directory"),
    ("x" * 300, "cannot use .*xxx: File name too long"),
    ("/proc/mtl_jax", "cannot use /proc/mtl_jax: No such file or directory"),
  ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_a_place_that_cannot_be_used_is_one_line(tmp_path, place, message, resume):
  (tmp_path / "file").write_text("mine")
  with pytest.raises(mtl.UserError, match=message) as caught:
    run(tmp_path / place, resume=resume)
  assert "\n" not in str(caught.value)
  assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_that_must_not_be_written_to_is_one_line(tmp_path, monkeypatch):
  def refuse(*args, **kwargs):
    raise PermissionError(13, "Permission denied", str(tmp_path / "run"))

  monkeypatch.setattr("pathlib.Path.mkdir", refuse)  # tests may run as root
  with pytest.raises(mtl.UserError, match="cannot use .*run: Permission denied"):
    run(tmp_path / "run")


def test_a_log_that_is_gone_is_told_and_a_file_named_checkpoints_is_one_line(run_of_20, unbroken):
  (run_of_20 / "metrics.jsonl").unlink()
  with pytest.warns(UserWarning, match="metrics.jsonl is gone: the history of the run before now is lost"):
    resumed = run(run_of_20, steps=30, resume=True)
  assert digest(resumed.state) == digest(unbroken.state)
  (run_of_20 / "checkpoints").rename(run_of_20.parent / "aside")
  (run_of_20 / "checkpoints").write_text("mine")
  with pytest.raises(mtl.UserError, match="cannot use .*checkpoints"):
    run(run_of_20, steps=30, resume=True)


@pytest.mark.slow
def test_a_run_whose_directory_is_renamed_stops_with_one_line_and_goes_on_there(tmp_path, unbroken):
  moved = tmp_path / "moved"

  def move(state):
    if int(state.step) == 20:
      (tmp_path / "run").rename(moved)
    return {}

  with pytest.raises(mtl.UserError, match="run/checkpoints has been moved or deleted while the run was writing"):
    run(tmp_path / "run", steps=30, loop={"probe": move})
  assert not (tmp_path / "run").exists()
  assert digest(run(moved, steps=30, resume=True).state) == digest(unbroken.state)


@pytest.mark.slow
def test_interrupts_at_any_moment_of_a_save(tmp_path):
  ((code, out, _, err),) = finish([start(["-m", "tests.train._interrupted", tmp_path, 12])], seconds=100)
  assert code == 0, err[-3000:]
  assert out.split()[::2] == ["good"] * 12 and "Traceback" not in err


@pytest.mark.slow
def test_a_command_interrupted_twice_ends_with_code_130(tmp_path):
  words = "train digits --tasks left --steps 100000 --checkpoint-every 1 --run-dir".split()
  process = start(["-m", "mtl_jax", *words, tmp_path / "run"])
  deadline = time.monotonic() + 100
  while not (tmp_path / "run" / "checkpoints" / "2").exists() and process.poll() is None:
    assert time.monotonic() < deadline
    time.sleep(0.01)
  for _ in range(2):
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
  ((code, _, lines, err),) = finish([process], seconds=60)
  assert code == 130, err[-3000:]
  told = ["mtl-jax: interrupted; resume a run with --resume."]
  assert lines in (told, [])  # the second one may come while the first is told
  assert "Traceback" not in err


def _refused(run_dir, told, change, **options):
  train, valid = (arrays(*at) | change(arrays(*at)) for at in ((500, 0), (100, 1)))
  before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
  with pytest.raises(mtl.UserError, match=rf"the run in .*run was started with other data: {told}\.$"):
    run(run_dir, steps=30, resume=True, train=train, valid=valid, **options)
  assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


@pytest.mark.slow
def test_data_of_another_description_are_refused(run_of_20):
  _refused(run_of_20, r"'x' was float32\[6\], is float32\[5\]", lambda data: {"x": data["x"][:, :5]})
  _refused(run_of_20, r"'kind' was int32\[\], is int64\[\]", lambda data: {"kind": data["kind"].astype("int64")})
  _refused(run_of_20, r"'id' was missing, is int32\[\]", lambda data: {"id": data["kind"]})
  _refused(run_of_20, "'about/classes/0' was missing, is no", lambda data: {}, loop={"about": {"classes": ["no"]}})


def test_a_run_that_kept_no_description_gets_one_when_it_goes_on(run_of_20):
  path = run_of_20 / "data.json"
  written = path.read_text()
  assert json.loads(written) == mtl.data.describe(arrays(1, 0)).as_json()
  path.unlink()
  run(run_of_20, steps=20, resume=True)
  assert path.read_text() == written
  path.write_text(written[:20])
  with pytest.raises(mtl.UserError, match=r"data.json is not JSON .*: delete it and resume the run .* writes it anew"):
    run(run_of_20, steps=20, resume=True)


def _recipe(optimizer):
  """A small recipe of that optimizer, and its data."""
  splits = recipes.Splits(arrays(200, 0), arrays(50, 1), arrays(50, 2))
  recipe = recipes.Recipe("small", "Small.", lambda seed: splits, lambda names: NET, TASKS, optimizer, 1e-2, 20, 32, 10)
  return recipe, splits


@pytest.mark.slow
def test_a_schedule_over_the_steps_changes_and_says_so(tmp_path):
  recipe, splits = _recipe(adamw_cosine)
  train_run(configure(recipe), splits, run_dir=tmp_path / "run", progress=False)
  told = "optimizer: a schedule over the steps was one over 20 steps and is one over 30 steps"
  with pytest.warns(UserWarning, match=rf"^from step 20 on the run in .*run is another, {told}\.$"):
    train_run(configure(recipe, steps=30), splits, run_dir=tmp_path / "run", resume=True, progress=False)
  config = json.loads((tmp_path / "run" / "config.json").read_text())
  assert config["steps"] == 30 and config["resumed"] == [{"step": 20, "steps": [20, 30], "changed": [told]}]
  train_run(configure(recipe, steps=30), splits, run_dir=tmp_path / "run", resume=True, progress=False)


def _adapted():
  """The small recipe with as many classes as its data name, and those data."""
  plain, splits = _recipe(lambda rate, steps: optax.adam(rate))

  def adapt(data):
    trunk, count = mtl.from_linen(Trunk()), len(data.about["classes"])
    heads = {"kind": mtl.from_linen(nn.Dense(count)), "size": mtl.from_linen(nn.Dense(data.arrays["size"].ndim + 1))}
    tasks = TASKS | {"kind": mtl.tasks.classification("kind", num_classes=count)}
    return dataclasses.replace(recipe, net=lambda names: mtl.arch.hard_sharing(trunk, heads), tasks=tasks)

  recipe = dataclasses.replace(
    plain,
    adapt=adapt,
    data=lambda seed: pytest.fail("made the data"),
    net=lambda names: pytest.fail("made the net without its data"),
    tasks=dict.fromkeys(TASKS, mtl.tasks.binary("none")),
  )
  return recipe, splits._replace(about={"classes": ["no", "yes"]})


@pytest.mark.slow
def test_without_a_schedule_nothing_is_said_and_the_run_opens_without_its_data(tmp_path):
  (recipe, splits), directory = _adapted(), tmp_path / "run"
  experiment = configure(recipe, balancer="random")  # which remembers a key
  loop = mtl.train.Loop(programs=compile_run(experiment, splits))
  options = {"run_dir": str(directory), "loop": loop, "progress": False}
  options["score"] = lambda metrics: 1.0  # never better than the first evaluation, so the best model is not the last
  train_run(experiment, splits, **options)
  longer = experiment._replace(config=dataclasses.replace(experiment.config, steps=30))
  fit, test = train_run(longer, splits, resume=True, **options)
  assert fit.best_step == 10
  opened = open_trained(str(directory), recipe, pytest.fail)
  assert digest((opened.params, opened.state)) == digest((fit.params, fit.net_state)) and opened.step == 10
  assert opened.data.about == splits.about and list(opened.problem.tasks) == list(TASKS)
  assert opened.evaluate({"test": splits.test}) == {"test": test}
  values = mtl.train.calibrate(NET, TASKS, fit.params, fit.net_state, splits.valid)
  assert values["kind"]["temperature"] > 0 and values["size"]["radius"] > 0
  problem = mtl.train.calibrated(mtl.Problem(NET, TASKS), values)
  expected = mtl.train.predict_all(problem, fit.params, fit.net_state, splits.test)
  found = opened.predict({"x": splits.test["x"]})
  assert {task: list(named) for task, named in found.items()} == {task: list(named) for task, named in expected.items()}
  for task, named in expected.items():
    for name, values in named.items():
      np.testing.assert_array_equal(found[task][name], values)
  with pytest.raises(mtl.UserError, match=r"run is of a recipe of your own, 'small': give it by --recipe small\.$"):
    open_trained(directory)


def test_a_recipe_whose_input_a_run_does_not_keep_is_refused_before_training(tmp_path):
  recipe, splits = _recipe(lambda rate, steps: optax.adam(rate))
  splits = splits._replace(train=splits.train | {"x": {0: splits.train["x"]}})
  with pytest.raises(mtl.UserError, match=r"input 'x' is PyTreeDef\({0: \*}\), but a run keeps dictionaries by words"):
    train_run(configure(recipe), splits, run_dir=tmp_path / "run", progress=False)
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("change", "told"),
  [
    ({"train": arrays(250, 0)}, "data: examples 500 -> 250"),
    ({"train": arrays(500, 3)}, "data: 500 examples as before, other contents"),
    ({"tx": optax.adam(1.0)}, "optimizer: other settings"),
    ({"batch_size": 16}, "another configuration: fit/batch_size was 32, is 16"),
  ],
)
def test_a_run_goes_on_with_other_data_or_another_optimizer_only_when_told_to(run_of_20, change, told):
  before = (run_of_20 / "fingerprint.json").read_text()
  with pytest.raises(mtl.UserError) as caught:
    run(run_of_20, steps=20, resume=True, **change)
  assert told in str(caught.value) and "\n" not in str(caught.value)
  assert (run_of_20 / "fingerprint.json").read_text() == before
  if "configuration" not in told:
    assert str(caught.value).endswith(f"{told}: to go on with it all the same, pass resume='anyway' (--resume-anyway).")
  with pytest.warns(UserWarning, match=f"from step 20 on the run in .*run is another, .*{told[-9:]}"):
    run(run_of_20, steps=20, resume="anyway", **change)
  (resumed,) = json.loads((run_of_20 / "config.json").read_text())["resumed"]
  assert resumed["step"] == 20 and told.endswith(resumed["changed"][0])
  run(run_of_20, steps=20, resume=True, **change)  # which is now the run's own


def test_fingerprints_of_optimizers_are_compared_within_one_version_of_jax(run_of_20):
  path = run_of_20 / "fingerprint.json"
  now = json.loads(path.read_text())
  path.write_text(json.dumps(now | {"optimizer": {"jax": "0.0.1", "program": "other"}}))
  run(run_of_20, steps=20, resume=True)
  assert json.loads(path.read_text()) == now
  path.unlink()  # as in a run of an older version
  run(run_of_20, steps=20, resume=True)
  assert json.loads(path.read_text()) == now
  path.write_text("[]")
  with pytest.raises(mtl.UserError, match=r"fingerprint.json holds no fingerprint: delete it and resume the run"):
    run(run_of_20, steps=20, resume=True)


def test_what_resume_may_be():
  with pytest.raises(mtl.UserError, match=r"resume is 'always', expected True, False or 'anyway'\."):
    run("run", resume="always")
