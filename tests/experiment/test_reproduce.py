"""A run that is made again says the same to the bit, and what is other is told."""

import json
import shutil

import pytest

import mtl_jax as mtl
from mtl_jax.cli.main import main
from mtl_jax.experiment import reproduce
from mtl_jax.experiment.trained import recipe_of
from mtl_jax.train.environment import PACKAGES
from tests.cli.test_own_recipe import FILE


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  directory = tmp_path_factory.mktemp("own")
  (directory / "tiny.py").write_text(FILE)
  words = ["train", str(directory / "tiny.py"), "--balancer", "pcgrad", "--seed", "3", "--recipe.width", "4"]
  assert main([*words, "--run-dir", str(directory / "run")]) == 0
  return directory


@pytest.fixture
def run(place, tmp_path):
  """A copy of the run, to be harmed."""
  return shutil.copytree(place / "run", tmp_path / "run")


@pytest.mark.slow
def test_to_the_bit(place, capsys):
  words = ["reproduce", str(place / "run"), "--recipe", str(place / "tiny.py"), "--run-dir", str(place / "again")]
  assert main(words) == 0
  out = capsys.readouterr().out
  assert "the parameters are equal to the bit" in out and "other than then" not in out and "mae" in out
  old, new = (json.loads((place / name / "config.json").read_text()) for name in ("run", "again"))
  assert old["fit"] == new["fit"] and new["seed"] == 3 and new["balancer"] == "pcgrad"


def test_what_a_run_was_made_with(place):
  found = json.loads((place / "run" / "environment.json").read_text())
  assert set(found["packages"]) == set(PACKAGES) and sum(found["devices"].values()) >= 1


@pytest.mark.slow
def test_other_scores_and_versions_are_told(run, place, tmp_path, capsys):
  test = json.loads((run / "test.json").read_text())
  test["test"]["sum"]["mae"] *= 1.5
  (run / "test.json").write_text(json.dumps(test))
  recipe = recipe_of(run, str(place / "tiny.py"))
  found = reproduce(run, tmp_path / "again", recipe, progress=False)
  assert found.worst == pytest.approx(1 / 3) and found.identical and found.changed == []
  environment = json.loads((run / "environment.json").read_text())
  environment["packages"]["jax"] = "0.1"
  (run / "environment.json").write_text(json.dumps(environment))
  words = ["reproduce", str(run), "--recipe", str(place / "tiny.py")]
  assert main(words) == 2
  out, err = capsys.readouterr()
  assert "other than then: jax 0.1 -> " in out
  assert "not reproduced: a test score differs by 0.33 of itself, expected 0 at most (--tolerance)." in err
  assert main([*words, "--tolerance", "0.5"]) == 0


@pytest.mark.parametrize(
  ("harm", "told"),
  [
    (lambda run: (run / "test.json").unlink(), "has not ended, there are no test scores of it"),
    (lambda run: _config(run, lambda c: c | {"resumed": [{"step": 2}]}), "went on with other settings"),
    (lambda run: _config(run, lambda c: c | {"fit": c["fit"] | {"steps": 9}}), "ended after 4 of 9 steps"),
  ],
)
def test_what_was_not_one_run_is_refused(harm, told, run, place, tmp_path):
  harm(run)
  with pytest.raises(mtl.UserError, match=told):
    reproduce(run, tmp_path / "again", recipe_of(run, str(place / "tiny.py")))
  assert not (tmp_path / "again").exists()


def _config(run, change):
  path = run / "config.json"
  path.write_text(json.dumps(change(json.loads(path.read_text()))))
