"""The command line end to end on real data, and one clear line with exit code 2 for every mistake."""

import csv
import json

import numpy as np
import pytest

from mtl_jax import recipes
from mtl_jax.cli import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  directory = tmp_path_factory.mktemp("cli") / "run"
  options = ["--balancer", "dwa", "--balancer.window", "20", "--steps", "60", "--learning-rate", "0.003"]
  assert main(["train", "digits", *options, "--run-dir", str(directory)]) == 0
  return directory


def test_train_leaves_config_log_checkpoint_picture_and_test_scores(trained):
  config = json.loads((trained / "config.json").read_text())
  assert config["balancer"] == "dwa" and config["balancer_options"] == ["--window", "20"] and config["steps"] == 60
  names = {path.name for path in trained.iterdir()}
  assert {"metrics.jsonl", "checkpoints", "learning_curves.png", "test.json"} <= names
  test = json.loads((trained / "test.json").read_text())["test"]
  assert test["left"]["accuracy"] > 0.5 and set(test) == {"left", "right", "tilt"}


def test_resume_of_a_finished_run(trained, capsys):
  options = ["--balancer", "dwa", "--balancer.window", "20", "--steps", "60", "--learning-rate", "0.003"]
  assert main(["train", "digits", *options, "--run-dir", str(trained), "--resume"]) == 0


def test_train_says_which_engine_it_takes_and_why(tmp_path, capsys):
  options = "--balancer pcgrad --steps 2 --tasks left tilt --run-dir".split()
  assert main(["train", "digits", *options, str(tmp_path / "run")]) == 0
  said = " ".join(capsys.readouterr().out.split())
  assert "engine stacked: factors save" in said and "one more backward pass takes" in said


def test_evaluate(trained, capsys):
  assert main(["evaluate", str(trained)]) == 0
  shown = capsys.readouterr().out
  test = json.loads((trained / "test.json").read_text())["test"]
  assert f"{test['left']['accuracy']:.4f}" in shown and f"{test['tilt']['mae']:.4f}" in shown


def test_predict(trained, tmp_path):
  test = recipes.load("digits").data(0).test
  np.savez(tmp_path / "in.npz", x=test["x"][:300])
  assert (
    main(["predict", str(trained), "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]) == 0
  )
  with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
    assert out["left.class"].shape == (300,) and out["left.probability"].shape == (300, 10)
    assert (out["left.class"] == test["left"][:300]).mean() > 0.5
    assert np.corrcoef(out["tilt.value"], test["tilt"][:300])[0, 1] > 0.5


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


def test_recipes(capsys):
  assert main(["recipes"]) == 0
  assert "digits" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("tran digits", "unknown command 'tran' (did you mean 'train'?)"),
    ("train digts", "unknown recipe 'digts' (did you mean 'digits'?)"),
    ("train digits --balancer pcgard", "unknown balancer 'pcgard' (did you mean 'pcgrad'?)"),
    ("train digits --stepz 3", "train has no option --stepz (did you mean '--steps'?)"),
    ("train digits --balancer dwa --balancer.windw 5", "no option 'windw' (did you mean 'window'?)"),
    ("train digits --balancer dwa --balancer.window x", "--balancer dwa --window x"),
    ("train digits --tasks leftt", "unknown task 'leftt' (did you mean 'left'?)"),
    ("train digits --engine grm", "unknown engine 'grm' (did you mean 'gram'?)"),
    ("train digits --balancer pcgrad --engine losses", "engine 'losses' cannot serve this balancer: it needs gram"),
    ("train digits --steps 0", "steps is 0, expected at least 1"),
    ("train digits --learning-rate -1", "learning-rate is -1.0, expected above 0"),
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
    ("compare digits --seeds 0", "seeds is 0"),
    ("compare digits --out {run}", "is not empty: choose another directory"),
    ("plan digits --topology v5e:3x5", "topology 'v5e:3x5' does not exist: v5e comes as 1x1, 2x2"),
    ("plan digits --topology cpu:1 --engine gram --engines stacked", "--engine and --engines exclude each other"),
    ("plan digits --topology cpu:1 --engines grm", "unknown engine 'grm' (did you mean 'gram'?)"),
    ("plan digits --topology cpu:1 --gram.k 3", "no 'gram' here"),
    ("evaluate {tmp}", "holds no run"),
    ("predict {run} --input {tmp}/none.npz", "cannot read"),
    ("predict {run} --input {tmp}/shape.npz", "input 'x' has shape (3, 5), expected (N, 12, 12, 1)"),
    ("predict {run} --input {tmp}/key.npz", "has no array 'x', only 'y'"),
  ],
)
def test_mistakes_are_one_line_and_exit_code_2(trained, tmp_path, monkeypatch, capsys, words, message):
  monkeypatch.chdir(tmp_path)
  np.savez(tmp_path / "shape.npz", x=np.zeros((3, 5)))
  np.savez(tmp_path / "key.npz", y=np.zeros((3, 5)))
  before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
  assert main([word.format(run=trained, tmp=tmp_path) for word in words.split()]) == 2
  lines = capsys.readouterr().err.strip().splitlines()
  assert len(lines) == 1 and message in lines[0]
  assert {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()} == before
  assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", ["train digits --steps abc", "train", "evaluate"])
def test_unparsable_words_exit_with_code_2(words, capsys):
  with pytest.raises(SystemExit) as caught:
    main(words.split())
  assert caught.value.code == 2


@pytest.mark.parametrize("command", ["train", "compare", "plan", "evaluate", "predict", "recipes"])
def test_help_has_examples(command, capsys):
  with pytest.raises(SystemExit) as caught:
    main([command, "--help"])
  assert caught.value.code == 0
  shown = capsys.readouterr().out
  assert command == "recipes" or f"mtl-jax {command} " in shown.replace("usage: mtl-jax", "")
