"""The command line end to end on real data, and one clear line with exit code 2 for every mistake."""

import csv
import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from mtl_jax import recipes
from mtl_jax.cli.commands import COMMANDS
from mtl_jax.cli.main import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  directory = tmp_path_factory.mktemp("cli") / "run"
  options = ["--balancer", "dwa", "--balancer.window", "20", "--steps", "60", "--learning-rate", "0.003"]
  assert main(["train", "digits", *options, "--run-dir", str(directory)]) == 0
  return directory


@pytest.mark.slow
def test_train_leaves_config_log_checkpoint_picture_and_test_scores(trained):
  config = json.loads((trained / "config.json").read_text())
  assert config["balancer"] == "dwa" and config["balancer_options"] == ["--window", "20"] and config["steps"] == 60
  stored = json.loads((trained / "data.json").read_text())
  assert stored["about"] == {} and set(stored["arrays"]) == {"x", "left", "right", "tilt"}
  assert stored["arrays"]["x"] == {"shape": [12, 12, 1], "dtype": "float32"}
  names = {path.name for path in trained.iterdir()}
  assert {"metrics.jsonl", "checkpoints", "learning_curves.png", "test.json"} <= names
  test = json.loads((trained / "test.json").read_text())["test"]
  assert test["left"]["accuracy"] > 0.5 and set(test) == {"left", "right", "tilt"}


@pytest.mark.slow
def test_resume_of_a_finished_run(trained, capsys):
  options = ["--balancer", "dwa", "--balancer.window", "20", "--steps", "60", "--learning-rate", "0.003"]
  assert main(["train", "digits", *options, "--run-dir", str(trained), "--resume"]) == 0


@pytest.mark.slow
def test_train_says_which_engine_it_takes_and_why(tmp_path, capsys):
  options = "--balancer pcgrad --steps 2 --tasks left tilt --verbose --run-dir".split()
  assert main(["train", "digits", *options, str(tmp_path / "run")]) == 0
  said = " ".join(capsys.readouterr().out.split())
  assert said.count("engine: stacked (exact, one backward pass per task") == 1
  assert "engine stacked: factors save" in said and "one more backward pass takes" in said


def test_evaluate(trained, capsys):
  assert main(["evaluate", str(trained)]) == 0
  shown = capsys.readouterr().out
  test = json.loads((trained / "test.json").read_text())["test"]
  assert f"{test['left']['accuracy']:.4f}" in shown and f"{test['tilt']['mae']:.4f}" in shown


@pytest.fixture
def no_data(monkeypatch):
  """The recipe's data cannot be made."""
  recipe = dataclasses.replace(recipes.load("digits"), data=lambda seed: pytest.fail("made the data"))
  monkeypatch.setattr(recipes, "find", lambda name: lambda: recipe)


@pytest.fixture(scope="module")
def test_data():
  return recipes.load("digits").data(0).test


def test_evaluate_on_a_file_needs_no_data_of_the_recipe(trained, tmp_path, capsys, no_data, test_data):
  np.savez(tmp_path / "more.npz", **test_data | {"left": test_data["left"].astype(np.int64)})
  assert main(["evaluate", str(trained), "--data", str(tmp_path / "more.npz")]) == 0
  shown = capsys.readouterr().out
  test = json.loads((trained / "test.json").read_text())["test"]
  assert f"{test['left']['accuracy']:.4f}" in shown and f"{test['tilt']['mae']:.4f}" in shown and "more.npz" in shown


def test_evaluate_refuses_data_that_are_not_those_of_the_run(trained, tmp_path, capsys, monkeypatch, test_data):
  narrow = test_data | {"x": test_data["x"][:, :10]}
  recipe = dataclasses.replace(recipes.load("digits"), data=lambda seed: recipes.Splits(narrow, narrow, narrow))
  monkeypatch.setattr(recipes, "find", lambda name: lambda: recipe)
  assert main(["evaluate", str(trained)]) == 2
  told = "was started with other data: 'x' was float32[12, 12, 1], is float32[10, 12, 1]."
  assert told in capsys.readouterr().err


def test_predict(trained, tmp_path, no_data, test_data):
  test = test_data
  np.savez(tmp_path / "in.npz", x=test["x"][:300])
  assert (
    main(["predict", str(trained), "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]) == 0
  )
  with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
    assert out["left.class"].shape == (300,) and out["left.probability"].shape == (300, 10)
    assert (out["left.class"] == test["left"][:300]).mean() > 0.5
    assert np.corrcoef(out["tilt.value"], test["tilt"][:300])[0, 1] > 0.5


@pytest.mark.slow
def test_export(trained, tmp_path, capsys, no_data, test_data):
  np.savez(tmp_path / "in.npz", x=test_data["x"][:3])
  file = tmp_path / "tilt.stablehlo"
  words = ["--tasks", "tilt", "--input", str(tmp_path / "in.npz"), "--output", str(file)]
  assert main(["export", str(trained), *words]) == 0
  assert "on 3 examples it differs from the model by at most" in capsys.readouterr().out
  card = json.loads(file.with_name("tilt.stablehlo.json").read_text())
  assert card["tasks"] == ["tilt"] and card["run"]["recipe"] == "digits"
  stored = jax.export.deserialize(bytearray(file.read_bytes()))
  assert set(stored.call({"x": test_data["x"]})) == {"tilt.value", "tilt.low", "tilt.high"}


@pytest.mark.slow
def test_a_model_as_safetensors_is_used_like_its_run(trained, tmp_path, capsys, test_data):
  np.savez(tmp_path / "in.npz", x=test_data["x"][:9])
  model, given = tmp_path / "model", ["--input", str(tmp_path / "in.npz")]
  words = ["--format", "safetensors", "--tasks", "left", "tilt", *given, "--output", str(model)]
  assert main(["export", str(trained), *words]) == 0
  assert "on 9 examples it differs from the model by at most 0.0e+00" in capsys.readouterr().out
  card, test = (json.loads(path.read_text()) for path in (tmp_path / "model.json", trained / "test.json"))
  assert card["test"] == {name: test["test"][name] for name in ("left", "tilt")}
  for place in (trained, model):
    assert main(["predict", str(place), *given, "--output", str(tmp_path / f"{place.name}.npz")]) == 0
  with np.load(tmp_path / "run.npz") as expected, np.load(tmp_path / "model.npz") as found:
    assert {name.partition(".")[0] for name in found.files} == {"left", "tilt"}
    for name in found.files:
      np.testing.assert_array_equal(found[name], expected[name])
  capsys.readouterr()
  assert main(["evaluate", str(model)]) == 0
  shown = capsys.readouterr().out
  assert f"{test['test']['left']['accuracy']:.4f}" in shown and f"{test['test']['tilt']['mae']:.4f}" in shown
  assert "right" not in shown


def test_predict_takes_whole_numbers_and_writes_just_the_file_it_names(trained, tmp_path, capsys, test_data):
  test = test_data
  for name, values in (("whole", test["x"][:9] > 0.5), ("real", (test["x"][:9] > 0.5).astype(np.float64))):
    np.savez_compressed(tmp_path / f"{name}.npz", x=values)
    out = tmp_path / f"{name} out"
    assert main(["predict", str(trained), "--input", str(tmp_path / f"{name}.npz"), "--output", str(out)]) == 0
    assert f"{out}: left.class (9,)" in capsys.readouterr().out
  assert {path.name for path in tmp_path.iterdir()} == {"whole.npz", "real.npz", "whole out", "real out"}
  with np.load(tmp_path / "whole out") as whole, np.load(tmp_path / "real out") as real:
    for name in whole.files:
      np.testing.assert_array_equal(whole[name], real[name])


@pytest.mark.slow
def test_compare(tmp_path, capsys):
  out = tmp_path / "compare"
  options = ["--balancers", "equal", "pcgrad", "--seeds", "2", "--steps", "20", "--tasks", "left", "tilt"]
  assert main(["compare", "digits", *options, "--pcgrad.seed", "3", "--out", str(out)]) == 0
  assert {path.name for path in out.glob("*.png")} == {"cosines.png", "delta_m.png", "learning_curves.png"}
  record = json.loads((out / "comparison.json").read_text())
  single, equal, pcgrad = record["methods"]
  assert [single["name"], equal["name"], pcgrad["name"]] == ["single-task", "equal", "pcgrad"]
  assert equal["parameters"] == pcgrad["parameters"] < single["parameters"]
  # Delta_m of single-task training against its own mean over seeds averages to zero.
  assert np.mean(single["delta_m"]) == pytest.approx(0.0, abs=1e-6)
  base = {task: np.mean(values) for task, values in single["scores"].items()}
  change = np.mean([-(equal["scores"][task][1] - base[task]) / base[task] for task in base])
  assert equal["delta_m"][1] == pytest.approx(100 * change, rel=1e-6)
  with (out / "comparison.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [row["method"] for row in rows] == ["single-task", "equal", "pcgrad"]
  assert float(rows[1]["left accuracy mean"]) == pytest.approx(np.mean(equal["scores"]["left"]), rel=1e-4)
  assert "pictures:" in capsys.readouterr().out


@pytest.mark.slow
def test_recipes(capsys):
  assert main(["recipes"]) == 0
  told = capsys.readouterr().out
  assert "digits  " in told and "3 tasks: left, right, tilt." in told and recipes.load("digits").expected in told
  assert "617 tasks: assay_000, " in told and "and 611 more." in told


def _times(*directories):
  return {path: path.stat().st_mtime_ns for top in directories for path in top.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("tran digits", "unknown command 'tran' (did you mean 'train'?)"),
    ("train digts", "unknown recipe 'digts' (did you mean 'digits'?)"),
    ("train digits --balancer pcgard", "unknown balancer 'pcgard' (did you mean 'pcgrad'?)"),
    ("train digits --stepz 3", "train has no option --stepz (did you mean '--steps'?)"),
    ("train digits --balancer dwa --balancer.windw 5", "no option 'windw' (did you mean 'window'?)"),
    ("train digits --balancer dwa --balancer.window x", "--balancer dwa --window x"),
    ("train digits --balancer dwa --balancer.temperature nan", "temperature is nan, expected numbers"),
    ("train digits --tasks left tilt left", "tasks: 'left' is named 2 times, expected once"),
    ("train digits --tasks leftt", "unknown task 'leftt' (did you mean 'left'?)"),
    ("train digits --engine grm", "unknown engine 'grm' (did you mean 'gram'?)"),
    ("train digits --balancer pcgrad --engine losses", "engine 'losses' cannot serve this balancer: it needs gram"),
    ("train digits --steps 0", "steps is 0, expected at least 1"),
    ("train digits --learning-rate -1", "learning-rate is -1.0, expected above 0"),
    ("train digits --learning-rate nan", "--learning-rate is nan, expected above 0 and finite"),
    ("train digits --learning-rate inf", "--learning-rate is inf, expected above 0 and finite"),
    ("train digits --batch-size 0", "--batch-size is 0, expected at least 1"),
    ("train digits --accumulate 0", "--accumulate is 0, expected at least 1"),
    ("train digits --checkpoint-every 0", "--checkpoint-every is 0, expected at least 1"),
    ("train digits --patience 0", "--patience is 0, expected at least 1"),
    ("train digits --patience -2", "--patience is -2, expected at least 1"),
    ("train digits --seed -1", "--seed is -1, expected at least 0"),
    ("train digits --seed 4294967296", "--seed is 4294967296, expected at most 4294967295"),
    ("train digits --batch-size 100000", "batch_size is 100000, but the data set has"),
    ("train digits --coordinator here:1 --num-processes 0", "--num-processes is 0, expected at least 1"),
    ("train digits --coordinator here:1 --process-id -1", "--process-id is -1, expected at least 0"),
    ("train digits --mesh data=4096", "data 4096 is 4096, but there are"),
    ("train digits --mesh model=1", "the mesh has the axes model, expected one named 'data'"),
    ("train digits --mesh data=1 --rules fdsp", "unknown rules 'fdsp' (did you mean 'fsdp'?)"),
    ("train digits --rules fsdp", "rules need a mesh of devices"),
    ("train digits --coordinator here --process-id 0", "coordinator is 'here', expected HOST:PORT"),
    ("train digits --batch-size 64 --accumulate 3", "batch_size 64 cannot be split"),
    ("train digits --dwa.window 3", "no 'dwa' here"),
    ("train digits --run-dir {run}", "already holds a run: resume it (--resume)"),
    ("train digits --run-dir {run} --resume", "another configuration: balancer was 'dwa', is 'equal'"),
    ("compare digits --balancers", "compare needs at least one balancer"),
    ("compare digits --balancers mgda equal mgda", "balancers: 'mgda' is named 2 times, expected once"),
    ("compare digits --seeds 0", "seeds is 0"),
    ("compare digits --steps 0", "--steps is 0, expected at least 1"),
    ("compare digits --batch-size 100000", "batch_size is 100000, but the data set has"),
    ("compare digits --out {run}", "is not empty: choose another directory"),
    ("compare digits --out {tmp}/key.npz", "key.npz is a file: choose a directory"),
    ("plan digits --accumulate 0", "--accumulate is 0, expected at least 1"),
    ("plan digits --topology cpu:1 --out {tmp}/none/plan.json", "cannot write {tmp}/none/plan.json: there is no dir"),
    ("plan digits --topology v5e:3x5", "topology 'v5e:3x5' does not exist: v5e comes as 1x1, 2x2"),
    ("plan digits --topology cpu:1 --engine gram --engines stacked", "--engine and --engines exclude each other"),
    ("plan digits --topology cpu:1 --engines grm", "unknown engine 'grm' (did you mean 'gram'?)"),
    ("plan digits --topology cpu:1 --gram.k 3", "no 'gram' here"),
    ("evaluate {tmp}", "holds no run"),
    ("evaluate {run} --data {tmp}/none.npz", "cannot read"),
    ("evaluate {run} --data {tmp}/key.npz", "has no array 'x', only 'y'"),
    ("evaluate {run} --data {tmp}/good.npz", "task 'left': the data has no label 'left', only 'x'"),
    ("evaluate {run} --data {tmp}/labels.npz", "array 'left' has dtype float64 and values that int32 cannot hold"),
    ("predict {run} --input {tmp}/none.npz", "cannot read"),
    ("export {run} --input {tmp}/good.npz --output {tmp}/model --tasks tild", "no task 'tild' (did you mean 'tilt'?)"),
    ("export {run} --input {tmp}/good.npz --output {tmp}/none/model", "there is no directory {tmp}/none"),
    ("export {run} --input {tmp}/good.npz --output {tmp}", "{tmp} is a directory that is not empty: choose another"),
    ("export {run} --quantize fp16", "stablehlo cannot be quantized to 'fp16': leave it out, or choose another format"),
    ("predict {run} --input {tmp}/shape.npz", "input 'x' has shape (3, 5), expected (N, 12, 12, 1)"),
    ("predict {run} --input {tmp}/key.npz", "has no array 'x', only 'y'"),
    ("predict {run} --input {tmp}/array.npy", "array.npy: it is no .npz file, or only a part of one"),
    ("predict {run} --input {tmp}/empty.npz", "the data set is empty: array 'x' has shape (0, 12, 12, 1)"),
    ("predict {run} --input {tmp}/nan.npz", "input 'x' has 144 NaN or infinite values, the first in example 1"),
    ("predict {run} --input {tmp}/huge.npz", "input 'x' has 288 NaN or infinite values, the first in example 0"),
    ("predict {run} --input {tmp}/complex.npz", "input 'x' has dtype complex128, expected float32"),
    ("predict {run} --input {tmp}/words.npz", "input 'x' has dtype <U1, expected float32"),
    ("predict {run} --input {tmp}/times.npz", "input 'x' has dtype datetime64[s], expected float32"),
    ("predict {run} --input {tmp}/good.npz --output {tmp}", "cannot write {tmp}: it is no file"),
    ("predict {run} --input {tmp}/good.npz --output {tmp}/none/out.npz", "there is no directory {tmp}/none"),
  ],
)
def test_mistakes_are_one_line_and_exit_code_2(trained, tmp_path, monkeypatch, capsys, words, message):
  monkeypatch.chdir(tmp_path)
  np.savez(tmp_path / "shape.npz", x=np.zeros((3, 5)))
  np.savez(tmp_path / "key.npz", y=np.zeros((3, 5)))
  good = np.zeros((2, 12, 12, 1))
  np.save(tmp_path / "array.npy", good)
  inputs = {"good": good, "empty": good[:0], "nan": np.stack([good[0], good[1] * np.nan]), "huge": good + 1e300}
  inputs |= {"complex": good * 1j, "words": good.astype("U1"), "times": good.astype("datetime64[s]")}
  for name, values in inputs.items():
    np.savez(tmp_path / f"{name}.npz", x=values)
  np.savez(tmp_path / "labels.npz", x=good, left=np.full(2, 0.5))
  (tmp_path / "predictions.npz").write_text("of another time")
  before, entries = _times(trained, tmp_path), sorted(tmp_path.rglob("*"))
  assert main([word.format(run=trained, tmp=tmp_path) for word in words.split()]) == 2
  lines = capsys.readouterr().err.strip().splitlines()
  assert len(lines) == 1 and message.format(tmp=tmp_path) in lines[0]
  assert _times(trained, tmp_path) == before and sorted(tmp_path.rglob("*")) == entries


def _x(*shape):
  return json.dumps({"arrays": {"x": {"shape": shape, "dtype": "float32"}}, "about": {}})


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (None, "has no data.json, the description of its training data: resume the run (--resume), which writes it."),
    ("{", "data.json is not JSON (Expecting property name"),
    ("[" * 100_000, "data.json is not JSON (maximum recursion depth"),
    ('{"arrays": {"x": 3}, "about": {}}', "data.json describes no data ('x' is 3, expected an object with shape and"),
    ('{"arrays": {}, "about": {}}', "the batch has no input 'x'"),
    (_x(24, 24, 1), "is of another model: 'best.0.shared.Dense_0.kernel' is float32[576, 256], expected float32[2304,"),
  ],
)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_description_that_is_missing_or_damaged_is_one_line(trained, tmp_path, capsys, command, content, message):
  run = shutil.copytree(trained, tmp_path / "run")
  (run / "data.json").unlink()
  if content is not None:
    (run / "data.json").write_text(content)
  words = ["--input", "in.npz", "--output", str(tmp_path / "out.npz")] if command == "predict" else []
  assert main([command, str(run), *words]) == 2
  lines = capsys.readouterr().err.strip().splitlines()
  assert len(lines) == 1 and message in lines[0]


@pytest.mark.parametrize("words", ["train digits --steps abc", "train", "evaluate"])
def test_unparsable_words_exit_with_code_2(words, capsys):
  with pytest.raises(SystemExit) as caught:
    main(words.split())
  assert caught.value.code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command, capsys):
  with pytest.raises(SystemExit) as caught:
    main([command, "--help"])
  assert caught.value.code == 0
  shown = capsys.readouterr().out
  assert command == "recipes" or f"mtl-jax {command} " in shown.replace("usage: mtl-jax", "")
