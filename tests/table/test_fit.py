"""From a table to a model: real data end to end, the comparison, files of new rows, and the command line."""

import csv
import io
import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from starlette.testclient import TestClient

import mtl_jax as mtl
from mtl_jax.cli.main import main
from mtl_jax.experiment import open_trained
from mtl_jax.experiment.files import own_files
from mtl_jax.experiment.trained import recipe_of
from mtl_jax.recipes import find
from mtl_jax.table.baselines import baselines
from mtl_jax.table.told import verdict

QUICK = {"networks": ["mlp"], "progress": False, "width": 32}


def quiet(line):
  pass


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
  """The wines of scikit-learn with two targets, as a file with what files have."""
  data = load_wine(as_frame=True).frame.rename(columns={"target": "cultivar"})
  data["colour"] = np.where(data.pop("hue") > 1, "pale", "dark")
  data["bottle"] = [f"b{i}" for i in range(len(data))]
  data.loc[::9, "ash"] = np.nan
  data.loc[::5, "cultivar"] = np.nan
  data["cultivar"] = data["cultivar"].map({0: "barolo", 1: "grignolino", 2: "barbera"})
  path = tmp_path_factory.mktemp("wine") / "wine.csv"
  data.to_csv(path, index=False, na_rep="?")
  return path


@pytest.fixture(scope="module")
def trained(wine, tmp_path_factory):
  """A run by the command line."""
  run = tmp_path_factory.mktemp("run") / "wine"
  words = ["train", "--table", str(wine), "--targets", "cultivar,alcohol:regression", "--steps", "200"]
  assert main([*words, "--networks", "mlp", "--width", "32", "--focal", "1.0", "--run-dir", str(run)]) == 0
  return run


@pytest.mark.slow
def test_the_command_leaves_a_run_and_a_comparison(trained):
  found = json.loads((trained / "comparison" / "comparison.json").read_text())
  methods = {one["name"]: one for one in found["methods"]}
  assert list(methods) == ["single-task", "multi-task", "linear", "boosted trees"]
  for method in methods.values():
    assert method["scores"]["cultivar"][0] > 0.8 and method["scores"]["alcohol"][0] > 0.2
  about = json.loads((trained / "data.json").read_text())["about"]
  assert about["targets"]["cultivar"]["masked"] and "bottle" not in about["columns"]
  values = json.loads((trained / "calibration.json").read_text())["tasks"]
  assert values["cultivar"]["temperature"] > 0 and values["alcohol"]["radius"] > 0


@pytest.mark.slow
def test_new_rows_are_predicted_in_the_words_and_units_of_the_table(trained, wine, tmp_path, capsys):
  rows = list(csv.DictReader(io.StringIO(wine.read_text())))[:40]
  names = [name for name in reversed(rows[0]) if name not in ("cultivar", "alcohol")]
  with (tmp_path / "new.csv").open("w", newline="") as file:
    table = csv.DictWriter(file, [*names, "more"], extrasaction="ignore")
    table.writeheader()
    table.writerows(
      {**row, "colour": "a new colour" if i == 0 else row["colour"], "more": "x"} for i, row in enumerate(rows)
    )
  assert (
    main(["predict", str(trained), "--input", str(tmp_path / "new.csv"), "--output", str(tmp_path / "out.csv")]) == 0
  )
  found = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
  assert len(found) == 40
  right = [one["cultivar"] == row["cultivar"] for one, row in zip(found, rows, strict=True) if row["cultivar"] != "?"]
  assert np.mean(right) > 0.9
  for one in found:
    assert (
      abs(sum(float(one[f"cultivar_probability_{word}"]) for word in ("barolo", "grignolino", "barbera")) - 1) < 1e-5
    )
    assert float(one["alcohol_low"]) < float(one["alcohol"]) < float(one["alcohol_high"])
  errors = [abs(float(one["alcohol"]) - float(row["alcohol"])) for one, row in zip(found, rows, strict=True)]
  assert np.mean(errors) < 0.8  # the standard deviation of all wines
  # The same from Python, and the file's own rows judged again.
  model = mtl.table.load(trained)
  answers = model.predict(tmp_path / "new.csv")
  assert answers["cultivar"] == [one["cultivar"] for one in found]
  with TestClient(mtl.serve.app(opened := open_trained(trained), own_files(recipe_of(trained), opened))) as client:
    while client.get("/health").status_code == 503:
      pass
    asked = client.post("/predict", content=(tmp_path / "new.csv").read_bytes(), params={"name": "new.csv"})
  for told, one in zip(asked.json()["answers"], found, strict=True):
    assert told["cultivar"] == one["cultivar"] and told["alcohol_low"] == pytest.approx(float(one["alcohol_low"]), 1e-5)
  capsys.readouterr()
  assert main(["evaluate", str(trained), "--data", str(wine)]) == 0
  assert f"{model.evaluate(wine)['cultivar']['accuracy']:.4f}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
  ("change", "line"),
  [
    (lambda text: text.replace("malic_acid", "acid"), "there is no column 'malic_acid'"),
    (lambda text: text.replace(",pale", ",pale,5", 1), "cells, expected 15"),
    (lambda text: "", "is empty"),
    (lambda text: text.replace("ash", "magnesium", 1), "there are two columns 'magnesium'"),
  ],
)
def test_mistakes_in_new_rows_are_one_line_and_nothing_is_written(trained, wine, tmp_path, capsys, change, line):
  (tmp_path / "new.csv").write_text(change(wine.read_text()))
  assert main(["predict", str(trained), "--input", str(tmp_path / "new.csv"), "--output", str(tmp_path / "o.csv")]) == 2
  told = capsys.readouterr().err
  assert line in told and "new.csv" in told and told.count("\n") == 1
  assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize(
  ("words", "line"),
  [
    ("--table no.csv --targets a", "there is no file no.csv"),
    ("--table {wine} --targets nothing", "there is no target 'nothing'"),
    ("--table {wine} --targets bottle", "target 'bottle' has 178 classes"),
    ("--table {wine} --targets cultivar:number", "unknown type 'number'"),
    ("--table {wine} --targets cultivar:regression", "expected a finite number"),
    ("--table {wine} --targets cultivar --split grouped", "needs a column"),
    ("--table {wine} --targets cultivar --folds 1", "folds"),
    ("--table {wine} --targets cultivar --folds 1000", "folds"),
    ("--table {wine} --targets cultivar --ignore hue", "there is no column 'hue' to ignore"),
    ("--table {wine} --targets cultivar --minutes 0", "minutes is 0"),
    ("--table {wine} --targets cultivar --balancer pcgard", "did you mean 'pcgrad'"),
    ("--table {wine} --targets cultivar --tragets a", "did you mean '--targets'"),
    ("--table --targets cultivar", "no file after --table"),
  ],
)
def test_mistakes_are_one_line_and_no_run_is_left(wine, tmp_path, capsys, words, line):
  run = tmp_path / "run"
  assert main(["train", *words.format(wine=wine).split(), "--run-dir", str(run)]) == 2
  told = capsys.readouterr().err
  assert line in told and told.startswith("mtl-jax: ") and told.count("\n") == 1
  assert not run.exists()


def test_a_directory_that_is_in_use_is_told_before_anything_is_trained(wine, tmp_path):
  (tmp_path / "notes.txt").write_text("mine")
  with pytest.raises(mtl.UserError, match="is not empty: choose another directory"):
    mtl.table.fit(wine, "alcohol", run_dir=tmp_path, say=pytest.fail, **QUICK)
  assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_baselines_are_those_of_scikit_learn():
  """Ridge and logistic regression on the standardised numbers give the same scores."""
  x, y = load_diabetes(return_X_y=True)
  frame = {f"x{i}": column for i, column in enumerate(x.T)} | {"value": y, "high": (y > 140).astype(int)}
  recipe = mtl.recipes.of_table(lambda: mtl.recipes.rows_of(mtl.recipes.table_of(frame)), "value,high")
  splits = recipe.data(0)
  prepared = mtl.data.table.read_preparation(splits.about)
  tasks = recipe.adapt(mtl.data.describe(splits.train, splits.about)).tasks
  found = baselines(prepared, splits, tasks)["linear"]
  flat = [
    np.stack([np.interp(v, k, h) for v, k, h in zip(part["x"]["numbers"].T, *prepared.curves(), strict=True)], axis=1)
    for part in splits[:3]
  ]
  best = []
  for strength in (0.01, 0.1, 1.0, 10.0):
    model = Ridge(alpha=strength).fit(flat[0], splits.train["value"])
    best.append((model.score(flat[1], splits.valid["value"]), model.score(flat[2], splits.test["value"])))
  assert abs(max(best)[1] - found["value"]["r2"]) < 1e-4
  scores = {
    LogisticRegression(C=1 / strength, max_iter=1000)
    .fit(flat[0], splits.train["high"])
    .score(flat[2], splits.test["high"])
    for strength in (0.01, 0.1, 1.0, 10.0)
  }
  assert min(abs(score - found["high"]["accuracy"]) for score in scores) < 1e-6


@pytest.mark.slow
def test_cross_validation_and_a_frame_of_pandas(tmp_path):
  frame = load_diabetes(as_frame=True).frame.rename(columns={"target": "progression"}).iloc[:150]
  lines = []
  model = mtl.table.fit(
    frame,
    {"progression": None},
    folds=2,
    steps=30,
    run_dir=tmp_path / "r",
    say=lines.append,
    **QUICK,
  )
  assert model.comparison is not None
  assert {len(values) for method in model.comparison.methods for values in method.scores.values()} == {2}
  assert verdict(model.comparison).startswith("progression: the multi-task network (r2 ")
  assert any(line.startswith("target progression: numbers, mean ") for line in lines)
  # A run of a frame opens without it.
  again = mtl.table.load(tmp_path / "r")
  np.testing.assert_array_equal(again.predict(frame)["progression"], model.predict(frame)["progression"])


@pytest.mark.slow
def test_the_estimator_follows_the_conventions_of_scikit_learn():
  frame = load_diabetes(as_frame=True).frame.iloc[:150]
  x, y = frame.drop(columns=["target", "bmi"]), frame[["target", "bmi"]]
  estimator = mtl.table.Estimator(steps=60, width=16, minutes=1)
  assert clone(estimator).set_params(width=8).get_params() == estimator.get_params() | {"width": 8}
  scores = cross_val_score(estimator, x, y, cv=2)
  assert scores.shape == (2,) and np.isfinite(scores).all()
  fitted = clone(estimator).fit(x.iloc[:60], y.iloc[:60])
  assert fitted.predict(x).shape == (150, 2) and fitted.predict(x).dtype == float
  both = mtl.table.Estimator(steps=60, width=16).fit(x.to_numpy(), np.where(y["bmi"] > 0, "high", "low"))
  assert set(both.predict(x.to_numpy())) == {"high", "low"} and both.predict_proba(x.to_numpy())["y0"].shape == (150, 2)
  with pytest.raises(mtl.UserError, match="not trained yet"):
    estimator.predict(x)
  with pytest.raises(mtl.UserError, match="no option 'depth'"):
    estimator.set_params(depth=3)


@pytest.mark.slow
def test_steps_fit_into_the_time_and_the_best_network_is_taken(wine):
  lines = []
  options = QUICK | {"networks": ["mlp", "resnet"]}
  model = mtl.table.fit(wine, "alcohol", minutes=0.001, compare=False, say=lines.append, **options)
  assert any("steps do not fit into 0.001 minutes: 30 are trained" in line for line in lines)
  scores = {line.split()[1][:-1]: float(line.split()[-1]) for line in lines if line.startswith("network ")}
  assert list(scores) == ["mlp", "resnet"]
  assert any(line.startswith(f"{min(scores, key=lambda name: scores[name])}, 30 steps of 16 of ") for line in lines)
  assert model.trained.step <= 30


def test_the_recipe_of_a_table_says_what_it_needs():
  with pytest.raises(mtl.UserError, match="no files are named"):
    find("table")(targets=("a",)).data(0)
