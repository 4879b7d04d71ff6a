"""The training loop: best model, early stopping, logs, resume after a kill, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.train.log import read_log
from tests.train._run import NET, TASKS, arrays, digest, programs, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  directory = tmp_path_factory.mktemp("fit") / "run"
  return directory, run(directory)


@pytest.mark.slow
def test_learns_and_returns_the_best_model(finished):
  _, result = finished
  valid = [line for line in result.history if line["kind"] == "valid"]
  assert len(valid) == 6
  assert valid[-1]["kind/accuracy"] > 0.85
  scores = [np.mean([np.log(line[f"{task}/loss"]) for task in TASKS]) for line in valid]
  assert result.best_step == valid[int(np.argmin(scores))]["step"]
  found = mtl.train.make_evaluate(NET, TASKS)(result.params, result.net_state, arrays(100, 1))
  best = valid[int(np.argmin(scores))]
  assert found["size"]["loss"] == pytest.approx(best["size/loss"], rel=1e-5)


@pytest.mark.slow
def test_log_has_losses_weights_and_speed(finished):
  directory, result = finished
  lines = read_log(directory)
  assert lines == json.loads(json.dumps(result.history))
  train = [line for line in lines if line["kind"] == "train"]
  assert [line["step"] for line in train] == list(range(5, 61, 5))
  wanted = {"losses/kind", "losses/size", "weights/kind", "weights/size", "grad_norm", "examples_per_second"}
  assert wanted <= set(train[0])


def test_early_stopping():
  result = run(patience=2, score=lambda metrics: 1.0)  # never better than the first evaluation
  assert int(result.state.step) == 30 and result.best_step == 10


def test_without_a_finite_score_the_last_parameters_are_returned_and_it_says_so():
  with pytest.warns(UserWarning, match="no evaluation had a finite score: the last parameters are returned"):
    result = run(steps=20, score=lambda metrics: float("nan"))
  assert result.best_step == 20 and digest(result.params) == digest(result.state.params)


@pytest.mark.slow
def test_killed_and_resumed_is_bit_identical(tmp_path, finished):
  """SIGKILL once the checkpoint of step 20 exists, wherever the run then is."""
  directory = tmp_path / "run"
  command = [sys.executable, "-m", "tests.train._run", str(directory), "60"]
  environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
  with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
    deadline = time.monotonic() + 120
    while not (directory / "checkpoints" / "20").exists() and process.poll() is None:
      assert time.monotonic() < deadline
      time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
  resumed = run(directory, resume=True)
  assert digest(resumed.state.params) == digest(finished[1].state.params)
  assert digest(resumed.params) == digest(finished[1].params)
  assert [line["step"] for line in read_log(directory)] == [line["step"] for line in finished[1].history]


def test_resume_after_a_damaged_newest_checkpoint(tmp_path, finished):
  directory = tmp_path / "run"
  run(directory, steps=60)
  for file in (directory / "checkpoints" / "60" / "tree").rglob("*"):
    if file.is_file():
      file.write_bytes(b"")
  with pytest.warns(UserWarning, match="the checkpoint of step 60 is damaged"):
    resumed = run(directory, resume=True)
  assert digest(resumed.state.params) == digest(finished[1].state.params)


def test_seeds_matter_and_are_all_that_matters(finished):
  assert digest(run(seed=1).state.params) != digest(finished[1].state.params)
  assert digest(run().state.params) == digest(finished[1].state.params)


@pytest.mark.slow
def test_accumulation_equals_the_whole_batch():
  """Without batch statistics and dropout, a batch in pieces is the same step, from the same start.

  Evaluation does not know of the pieces: 50 examples are no multiple of 4.
  """
  import flax.linen as nn
  import optax

  heads = {"kind": mtl.from_linen(nn.Dense(2)), "size": mtl.from_linen(nn.Dense(1))}
  net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(8)), heads)
  results = [
    mtl.fit(
      net,
      TASKS,
      mtl.balance.mgda(),
      optax.sgd(0.1),
      arrays(200, 0),
      valid=arrays(50, 1),
      steps=10,
      eval_every=10,
      batch_size=32,
      accumulate=pieces,
      progress=False,
    )  # fmt: skip
    for pieces in (1, 4)
  ]
  for a, b in zip(*(jax.tree.leaves(result.params) for result in results), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-6)
  whole, pieces = (result.history[-1] for result in results)
  assert whole["kind"] == "valid" and pieces == pytest.approx(whole, abs=1e-5)


def test_lists_are_arrays(finished):
  """Data as lists of numbers, as read from JSON, train as arrays do."""
  lists = {key: values.tolist() for key, values in arrays(500, 0).items()}
  result = run(train=lists, valid={key: values.tolist() for key, values in arrays(100, 1).items()})
  assert digest(result.params) == digest(finished[1].params)


@pytest.mark.slow
def test_bfloat16_compute_keeps_float32_parameters():
  with jax.numpy_dtype_promotion("standard"):  # Flax's batch normalisation mixes in its float32 statistics
    result = run(compute_dtype=jnp.bfloat16)
  assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {jnp.dtype("float32")}
  last = [line for line in result.history if line["kind"] == "valid"][-1]
  assert last["kind/accuracy"] > 0.8


def test_tensorboard(tmp_path):
  run(tmp_path / "run", steps=10, loop={"tensorboard": True})
  assert list((tmp_path / "run" / "tensorboard").iterdir())


def _nan_labels():
  data = arrays(500, 0)
  data["size"] = data["size"] * 1e38 * 10  # finite as data, infinite once squared
  return data


def test_stops_at_an_infinite_loss_and_names_task_and_step(tmp_path):
  with np.errstate(over="ignore"):
    data = _nan_labels()
  data["size"] = np.where(np.isfinite(data["size"]), data["size"], 3e38).astype(np.float32)
  with pytest.raises(mtl.train.NonFiniteError, match=r"the loss of task 'size' .* first at step 1 .*untouched"):
    run(tmp_path / "run", train=data)
  result = run(train=data, nonfinite="skip")
  assert int(result.state.skipped) == 60
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.params))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"steps": 0}, "steps is 0, expected at least 1"),
    ({"batch_size": 30, "accumulate": 4}, "batch_size 30 cannot be split over 1 devices x 4 pieces"),
    ({"accumulate": 0}, "accumulate is 0, expected at least 1"),
    ({"batch_size": -32}, "batch_size is -32, expected at least 1"),
    ({"seed": -1}, "seed is -1, expected at least 0"),
    ({"eval_every": 0}, "eval_every is 0, expected at least 1"),
    ({"loop": {"log_every": 0}}, "log_every is 0, expected at least 1"),
    ({"loop": {"checkpoint_every": 0}}, "checkpoint_every is 0, expected at least 1"),
    ({"patience": 0}, "patience is 0, expected at least 1"),
    ({"compute_dtype": "int8"}, "compute_dtype is int8, expected floating-point numbers"),
    ({"compute_dtype": "float16"}, "compute_dtype is float16, in which small gradients vanish"),
    ({"compute_dtype": "bf16"}, "unknown compute_dtype 'bf16'"),
    ({"nonfinite": "halt", "loop": {"programs": programs("stop")}}, "nonfinite is 'halt', expected 'stop'"),
    ({"train": {**arrays(2, 0), "x": [[1.0], [1.0, 2.0]]}}, "array 'x' cannot be read as an array: .*"),
    ({"valid": {**arrays(2, 0), "x": [["a"], ["b"]]}}, "input 'x' holds words such as 'a', expected numbers"),
    ({"valid": None, "patience": 3}, "patience is given, but does nothing without valid: pass valid=, too"),
    ({"valid": None, "loop": {"probe": dict}}, "probe is given, but does nothing without valid"),
    ({"run_dir": None, "resume": True}, "resume is given, but does nothing without run_dir: pass run_dir=, too"),
    ({"run_dir": None, "loop": {"tensorboard": True}}, "tensorboard is given, but does nothing without run_dir"),
    ({"train": {}}, "empty|no "),
    ({"train": {k: v[:0] for k, v in arrays(5, 0).items()}}, "empty|no examples"),
    ({"train": {**arrays(50, 0), "kind": np.full(50, 7)}}, r"task 'kind': label 'kind' ranges over \[7, 7\]"),
    ({"train": {**arrays(50, 0), "kind": np.zeros(50)}}, "task 'kind': label 'kind' has dtype float64"),
    ({"train": {**arrays(50, 0), "x": np.full((50, 6), np.nan, np.float32)}}, "'x'.*(NaN|finite)"),
  ],
)  # fmt: skip
def test_bad_options_and_data_are_one_clear_line_and_leave_no_trace(tmp_path, options, message):
  with pytest.raises(mtl.UserError, match=message) as caught:
    run(**{"run_dir": tmp_path / "run", **options})
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "run").exists()


def test_existing_run_other_configuration_and_foreign_directory(finished, tmp_path):
  directory, _ = finished
  before = sorted(str(path) for path in directory.rglob("*"))
  with pytest.raises(mtl.UserError, match="already holds a run: resume it"):
    run(directory)
  with pytest.raises(mtl.UserError, match="fit/seed was 0, is 3"):
    run(directory, steps=70, seed=3, resume=True)
  assert sorted(str(path) for path in directory.rglob("*")) == before
  (tmp_path / "mine.txt").write_text("precious")
  with pytest.raises(mtl.UserError, match="is not empty and holds no run"):
    run(tmp_path)
  assert (tmp_path / "mine.txt").read_text() == "precious"


def test_resuming_a_finished_run_changes_nothing(finished):
  directory, result = finished
  again = run(directory, resume=True)
  assert digest(again.state.params) == digest(result.state.params)
