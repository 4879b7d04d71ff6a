"""The README and the other pages: every Python block runs, every command parses, every name exists."""

import contextlib
import inspect
import json
import re
import shlex
from pathlib import Path

import flax.linen as nn
import jax
import pytest

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax.cli.commands import COMMANDS
from mtl_jax.cli.main import _parse, main
from mtl_jax.experiment.options import build_arch, build_balancer
from tests._launch import finish, start

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [
  ROOT / name
  for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/design.md", "docs/engines.md", "docs/scale.md")
]
REFERENCE = sorted((ROOT / "docs" / "api").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)
LINES = re.findall(r"^mtl-jax .*$", README, re.MULTILINE)


def run(namespaces, block):
  """The names after `block`, run in a copy of the names that the blocks before it left."""
  namespace = dict(namespaces[-1]) if namespaces else {"__name__": "readme"}
  with contextlib.ExitStack() as stack:
    # A reader runs with JAX's own settings; the strict ones of these tests reject optax's arithmetic on its step count.
    stack.enter_context(jax.numpy_dtype_promotion("standard"))
    stack.enter_context(jax.numpy_rank_promotion("allow"))
    exec(compile(block, "README.md", "exec"), namespace)
  return namespace


@pytest.fixture(scope="module")
def namespaces():
  """The names after each Python block, the blocks run in their order."""
  found = []
  for block in BLOCKS:
    found.append(run(found, block))
  return found


@pytest.mark.slow
def test_quick_start_is_short_and_starts_from_the_readers_own_network(namespaces):
  block, names = BLOCKS[0], namespaces[0]
  assert len(block.splitlines()) < 30
  own = [value for value in names.values() if isinstance(value, type) and value.__module__ == "readme"]
  assert own and all(issubclass(network, nn.Module) for network in own)
  assert re.search(r"optax\.chain\(mtl\.aggregate\(mtl\.balance\.pcgrad\(\), num_tasks=3\), optax\.adam\(", block)
  assert len(names["tasks"]) == 3


@pytest.mark.slow
def test_quick_start_learns_every_task(namespaces):
  first, last = namespaces[0]["losses"][0], namespaces[0]["losses"][-1]
  assert first.shape == last.shape == (3,)
  assert (last < 0.5 * first).all()


@pytest.mark.slow
def test_train_step_and_fit_learn_every_task(namespaces):
  names = namespaces[1]
  first, metrics = namespaces[0]["losses"][0], names["metrics"]
  assert all(metrics["losses"][name] < loss for name, loss in zip(names["tasks"], first, strict=True))
  lines = [line for line in names["run"].history if line["kind"] == "valid"]
  assert all(lines[-1][f"{name}/loss"] < lines[0][f"{name}/loss"] for name in names["tasks"])
  assert names["run"].best_step > lines[0]["step"]


@pytest.mark.slow
def test_the_readers_own_problem_trains_and_opens(tmp_path, capsys):
  file, directory = tmp_path / "my.py", str(tmp_path / "run")
  file.write_text(next(block for block in BLOCKS if "def recipe(" in block))
  assert main(["train", str(file), "--recipe.width", "16", "--run-dir", directory]) == 0
  assert main(["evaluate", directory, "--recipe", str(file)]) == 0
  test = json.loads((tmp_path / "run" / "test.json").read_text())["test"]
  assert test["top"]["accuracy"] > 0.8 and test["sum"]["r2"] > 0.8
  assert f"{test['top']['accuracy']:.4f}" in capsys.readouterr().out


@pytest.mark.slow
def test_the_page_on_scale_runs_on_eight_devices():
  """Its blocks, one after the other, as a reader would: with JAX's own settings."""
  blocks = BLOCK.findall((ROOT / "docs/scale.md").read_text())
  ((code, out, _, err),) = finish([start(["-c", "\n".join(blocks)], devices=8)])
  assert code == 0, err[-3000:]
  assert "P('data',)" in out.splitlines()


@pytest.mark.parametrize("line", LINES)
def test_command_parses(line):
  command, own = _parse(shlex.split(line)[1:])
  if hasattr(command, "engine"):
    assert command.recipe in (*recipes.names(), "my.py")
    own = {part: words for part, words in own.items() if part != "recipe"}
    assert command.engine in (None, *mtl.engine.names())
    compares = "compare" in line
    methods = {name: name for name in command.balancers or ()} if compares else {"balancer": command.balancer}
    for part, name in methods.items():
      build_balancer(name, own.pop(part, ()))
    archs = {name: name for name in command.archs} if compares else {"arch": command.arch} if command.arch else {}
    for part, name in archs.items():
      build_arch(name, own.pop(part, ()))
  assert not own


def test_there_are_commands_of_every_kind():
  assert {line.split()[1] for line in LINES} == set(COMMANDS)


def functions(module):
  return [name for name, value in vars(module).items() if inspect.isfunction(value)]


@pytest.mark.parametrize(
  "names",
  [
    mtl.balance.names(),
    mtl.engine.names(),
    recipes.names(),
    functions(mtl.tasks),
    functions(mtl.arch),
    functions(mtl.data.source),
  ],
  ids=["balancers", "engines", "recipes", "tasks", "architectures", "sources"],
)
def test_tables_name_everything_there_is(names):
  tables = "".join(line for line in README.splitlines() if line.startswith("|"))
  assert [name for name in names if f"`{name}`" not in tables] == []


@pytest.mark.parametrize("page", PAGES + REFERENCE, ids=lambda page: page.name)
def test_pages_name_only_what_exists(page):
  text = page.read_text()
  for dotted in set(re.findall(r"\bmtl\.([A-Za-z_][A-Za-z_0-9.]*[A-Za-z_0-9])", text)):
    found = mtl
    for part in dotted.split("."):
      assert hasattr(found, part), f"mtl.{dotted}"
      found = getattr(found, part)
  for link in re.findall(r"\]\(([^)#:]+)\)", text):
    assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_pages_fit(page):
  """Those written by hand: in `docs/api` links make lines longer."""
  assert [i for i, line in enumerate(page.read_text().splitlines(), 1) if len(line) > 120] == []
