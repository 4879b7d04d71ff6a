"""A problem of the user's own, in a file, through the command line and Python."""

import json
import shutil
import warnings

import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax.cli.main import main

FILE = """
import flax.linen as nn
import numpy as np
import optax

import mtl_jax as mtl
from mtl_jax.recipes import Recipe, Splits


def arrays(count, seed):
  x = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
  return {"x": x, "sum": x.sum(axis=1), "hot": x[:, 0] > 0}


def recipe(num_examples: int = 64, width=8) -> Recipe:
  def net(names):
    heads = {name: mtl.from_linen(nn.Dense(1)) for name in names}
    return mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(width)), heads)

  return Recipe(
    name="tiny",
    summary="A sum and a sign.",
    data=lambda seed: Splits(arrays(num_examples, 0), arrays(16, 1), arrays(16, 2)),
    net=net,
    tasks={"sum": mtl.tasks.regression("sum"), "hot": mtl.tasks.binary("hot")},
    optimizer=lambda rate, steps: optax.adam(rate),
    learning_rate=1e-2,
    steps=4,
    batch_size=8,
    eval_every=2,
  )


def in_parts() -> Recipe:
  import dataclasses

  from mtl_jax.recipes import Parts

  def net(names):
    return Parts(mtl.from_linen(mtl.nn.MLP((8, 8))), {name: mtl.from_linen(nn.Dense(1)) for name in names})

  return dataclasses.replace(recipe(), net=net)


def other():
  return 3


def broken() -> Recipe:
  return recipe(num_examples=1 // 0)


def late() -> Recipe:
  import dataclasses

  return dataclasses.replace(recipe(), data=lambda seed: arrays(None, 0))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A directory with the file `tiny.py` and a run of it."""
  directory = tmp_path_factory.mktemp("own")
  (directory / "tiny.py").write_text(FILE)
  (directory / "empty.py").write_text("x = 1\n")
  (directory / "syntax.py").write_text("def recipe(:\n")
  words = ["train", str(directory / "tiny.py"), "--recipe.num-examples", "40", "--run-dir", str(directory / "run")]
  assert main(words) == 0
  return directory


def test_a_run_keeps_the_name_and_the_options(place):
  config = json.loads((place / "run" / "config.json").read_text())
  assert config["recipe"] == str(place / "tiny.py") and config["recipe_options"] == ["--num-examples", "40"]
  assert json.loads((place / "run" / "fingerprint.json").read_text())["data"]["examples"] == 40


def test_evaluate_and_predict_make_what_was_trained(place, tmp_path, capsys):
  test = json.loads((place / "run" / "test.json").read_text())["test"]
  given = ["--recipe", str(place / "tiny.py")]
  assert main(["evaluate", str(place / "run"), *given]) == 0
  assert f"{test['sum']['mae']:.4f}" in capsys.readouterr().out
  arrays = recipes.load(str(place / "tiny.py")).data(0).test
  np.savez(tmp_path / "in.npz", **arrays)
  assert main(["evaluate", str(place / "run"), *given, "--data", str(tmp_path / "in.npz")]) == 0
  assert f"{test['sum']['mae']:.4f}" in capsys.readouterr().out
  words = ["--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]
  assert main(["predict", str(place / "run"), *given, *words]) == 0
  with np.load(tmp_path / "out.npz") as out:
    assert np.abs(out["sum.value"] - arrays["sum"]).mean() == pytest.approx(test["sum"]["mae"], rel=1e-5)


def test_the_run_of_fit_is_opened_by_a_recipe_too(place, tmp_path, capsys):
  recipe = recipes.load(str(place / "tiny.py"))
  problem, splits = mtl.Problem(recipe.network(["hot"]), {"hot": recipe.tasks["hot"]}), recipe.data(0)
  options = {"steps": 2, "batch_size": 8, "run_dir": tmp_path / "run", "progress": False}
  mtl.fit(problem, mtl.balance.equal(), recipe.optimizer(1e-2, 2), splits.train, **options)
  assert main(["evaluate", str(tmp_path / "run")]) == 2
  assert "names no recipe: give a file that makes its net and tasks, --recipe FILE.py." in capsys.readouterr().err
  assert main(["evaluate", str(tmp_path / "run"), "--recipe", str(place / "tiny.py")]) == 0
  assert "hot" in capsys.readouterr().out


def test_resume_checks_the_options(place, tmp_path, capsys):
  words = ["train", str(place / "tiny.py"), "--run-dir", str(place / "run"), "--recipe.num-examples"]
  assert main([*words, "30", "--resume"]) == 2
  assert "recipe_options was ['--num-examples', '40'], is ['--num-examples', '30']" in capsys.readouterr().err
  run = shutil.copytree(place / "run", tmp_path / "run")
  words[words.index("--run-dir") + 1] = str(run)
  with warnings.catch_warnings():
    warnings.simplefilter("always")
    assert main([*words, "30", "--resume-anyway"]) == 0
  assert "is ['--num-examples', '30']; data: examples 40 -> 30." in capsys.readouterr().err


@pytest.mark.slow
def test_compare_is_the_command_in_python(place, tmp_path, capsys):
  words = ["compare", f"{place / 'tiny.py'}:recipe", "--recipe.num-examples", "40", "--balancers", "mgda"]
  assert main([*words, "--out", str(tmp_path / "out")]) == 0
  told = capsys.readouterr().out
  said = []
  recipe = recipes.load(str(place / "tiny.py"), num_examples=40)
  comparison = mtl.compare(recipe, {"mine": mtl.balance.mgda()}, progress=False, say=said.append)
  assert [method.name for method in comparison.methods] == ["single-task", "mine"]
  record = json.loads((tmp_path / "out" / "comparison.json").read_text())
  assert [method["scores"] for method in record["methods"]] == [method.scores for method in comparison.methods]
  assert record["config"]["recipe_options"] == ["--num-examples", "40"]
  assert len(said) == 3 and all(line.replace("mine", "mgda") in told for line in said)
  shown = str(comparison)
  assert "mine" in shown and f"{comparison.methods[1].scores['sum'][0]:.4f}" in shown


@pytest.mark.parametrize(
  ("arguments", "options", "message"),
  [
    ([], {}, "compare needs at least one balancer"),
    (["equal", "equal"], {}, "'equal' is named 2 times"),
    (["equl"], {}, "unknown balancer 'equl' (did you mean 'equal'?)"),
    ({"equal": mtl.balance.equal(), "mine": 3}, {}, "balancer 'mine' is 3, expected a name"),
    ({"single-task": mtl.balance.equal()}, {}, "a balancer is named 'single-task', as the baseline is"),
    (["equal"], {"archs": "mmoe"}, "archs is 'mmoe', expected a list of names"),
    (["equal"], {"archs": []}, "archs is empty, expected at least one architecture"),
    (["equal"], {"stepz": 3}, "unknown option 'stepz' (did you mean 'steps'?)"),
  ],
)
def test_mistakes_in_a_comparison(place, arguments, options, message):
  with pytest.raises(mtl.UserError) as caught:
    mtl.compare(str(place / "tiny.py"), arguments, **options)
  assert message in str(caught.value)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("train {at}/none.py", "cannot read the recipe {at}/none.py: there is no such file."),
    ("train {at}/empty.py", "{at}/empty.py has no function 'recipe', it has none: name one, {at}/empty.py:NAME."),
    (
      "train {at}/tiny.py:recip",
      "has no function 'recip' (did you mean 'recipe'?), it has arrays, recipe, in_parts, other",
    ),
    ("train {at}/tiny.py:other", "tiny.py:other' returned int, expected mtl.recipes.Recipe."),
    ("train no.module:recipe", "there is no module 'no.module' with a recipe"),
    ("train {at}/tiny.py --recipe.num-example 3", "tiny.py has no option 'num-example' (did you mean 'num-examples'?)"),
    ("train {at}/tiny.py --recipe.width x", "tiny.py --width x: "),
    ("train {at}/tiny.py --arch mmoe", "recipe 'tiny' gives a finished net, so its architecture is the recipe's own"),
    ("train digits --arch mmo", "unknown arch 'mmo' (did you mean 'mmoe'?)"),
    ("compare digits --arch mmoe --archs mmoe", "--arch and --archs exclude each other"),
    ("compare digits --archs mmoe mmoe", "archs: 'mmoe' is named 2 times, expected once"),
    ("describe digits --balancer.k 3", "no 'balancer' here"),
    ("train digits --recipe.num-pair 3", "--recipe digits has no option 'num-pair' (did you mean 'num-pairs'?)"),
    ("train digts", "unknown recipe 'digts' (did you mean 'digits'?): choose from attention_transfer, census, clicks,"),
    ("evaluate {at}/run", "the run in {at}/run is of a recipe of your own, '{at}/tiny.py': give it by --recipe {at}/"),
    ("predict {at}/run --input in.npz --output {at}/out.npz", "give it by --recipe {at}/tiny.py."),
    ("evaluate {at}/run --recipe digits", "--recipe digits has no option 'num-examples'"),
  ],
)
def test_mistakes_are_one_line(place, capsys, words, message):
  assert main([word.format(at=place) for word in words.split()]) == 2
  lines = capsys.readouterr().err.strip().splitlines()
  assert len(lines) == 1 and message.format(at=place) in lines[0]


@pytest.mark.parametrize(
  ("name", "lines", "last"),
  [
    ("tiny.py:broken", ["in broken", "1 // 0"], "ZeroDivisionError: integer division or modulo by zero"),
    ("tiny.py:late", ["in <lambda>", "in arrays"], "TypeError: "),
    ("syntax.py", ["def recipe(:"], "SyntaxError: "),
  ],
)
def test_an_error_of_the_recipe_is_told_by_the_lines_of_its_file(place, capsys, name, lines, last):
  assert main(["train", str(place / name), "--run-dir", str(place / "never")]) == 2
  told = capsys.readouterr().err.strip().splitlines()
  assert told[0] == f"mtl-jax: the recipe {place / name} failed:" and last in told[-1]
  assert all(any(line in each for each in told) for line in lines)
  files = [line for line in told if line.lstrip().startswith("File ")]
  assert files and all(str(place) in line for line in files)


@pytest.mark.slow
def test_architectures_by_name(place, tmp_path, capsys):
  """Trained, opened again and compared, with options."""
  words, run = [f"{place / 'tiny.py'}:in_parts", "--steps", "2"], tmp_path / "run"
  arch = ["--arch", "mmoe", "--arch.experts", "3"]
  assert main(["train", *words, *arch, "--run-dir", str(run)]) == 0
  config = json.loads((run / "config.json").read_text())
  assert (config["arch"], config["arch_options"]) == ("mmoe", ["--experts", "3"])
  capsys.readouterr()
  assert main(["evaluate", str(run), "--recipe", words[0]]) == 0
  test = json.loads((run / "test.json").read_text())["test"]
  assert f"{test['hot']['loss']:.4f}" in capsys.readouterr().out
  assert main(["train", *words, "--run-dir", str(run), "--resume"]) == 2
  assert "arch was 'mmoe', is None" in capsys.readouterr().err
  archs = ["--archs", "hard_sharing", "mmoe", "--mmoe.experts", "3"]
  assert main(["compare", *words, *archs, "--out", str(tmp_path / "out")]) == 0
  methods = json.loads((tmp_path / "out" / "comparison.json").read_text())["methods"]
  single, hard, mixture = methods
  assert [m["name"] for m in methods] == ["single-task", "hard_sharing", "mmoe"]
  assert hard["parameters"] < single["parameters"] < mixture["parameters"]


@pytest.mark.slow
def test_what_an_architecture_does_not_serve_is_left_out(place):
  def failing(trunk, heads):
    raise mtl.UserError("not for this")

  def wide(trunk, heads):  # known to be wrong only where losses are taken
    return mtl.arch.hard_sharing(trunk, dict.fromkeys(heads, mtl.from_linen(mtl.nn.MLP((), 5))))

  said, made = [], recipes.find(f"{place / 'tiny.py'}:in_parts")()
  archs = {"hard": "hard_sharing", "other": failing, "wide": wide}
  found = mtl.compare(made, ["equal"], archs, steps=1, skip=True, progress=False, say=said.append)
  assert [method.name for method in found.methods] == ["single-task", "hard"]
  assert "other is left out: not for this" in said
  assert any(line.startswith("wide is left out: ") and "'sum'" in line for line in said), said
  with pytest.raises(mtl.UserError, match="not for this"):
    mtl.compare(made, ["equal"], archs, steps=1, progress=False)


@pytest.mark.slow
def test_describe_tells_the_parts_and_draws_them(place, tmp_path, capsys):
  words = ["describe", f"{place / 'tiny.py'}:in_parts", "--arch", "mmoe", "--out", str(tmp_path / "net.png")]
  assert main(words) == 0
  shown = " ".join(capsys.readouterr().out.split())
  assert "shared/experts │ 416 │" in shown and "task/hot │ 25 │" in shown and (tmp_path / "net.png").exists()


def test_a_function_of_a_module_in_the_current_directory(place, monkeypatch):
  monkeypatch.chdir(place)
  monkeypatch.setattr("sys.path", list(__import__("sys").path))
  assert recipes.load("tiny:recipe", num_examples=5).name == "tiny"
