"""The examples of the reader's own data: each runs, on less data and in fewer steps, and learns all of its tasks."""

import ast
import re
from pathlib import Path

import jax
import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
SMALLER = {
  "schools": {"schools=139": "schools=16", "steps=300": "steps=60"},
  "robot_arm": {"steps=500": "steps=60"},
  "rotated_fashion": {"2000": "512", "stand_in(500": "stand_in(128", "steps=300": "steps=150, batch_size=32"},
  "census": {"count=3000": "count=1500", "steps=400": "steps=80"},
}
every_example = pytest.mark.parametrize("name", SMALLER)


def text(name):
  return (DOCS / "examples" / f"{name}.py").read_text()


def own_lines(source):
  """The lines of code that are neither imports nor docstrings, nor read the data."""
  for node in ast.parse(source).body:
    reads = isinstance(node, ast.FunctionDef) and node.name in ("stand_in", "read")
    if not (reads or isinstance(node, ast.Import | ast.ImportFrom | ast.Expr) and not is_call(node)):
      yield from (line for line in ast.get_source_segment(source, node).splitlines() if line.strip())


def is_call(node):
  return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def test_there_are_no_others():
  assert {path.stem for path in (DOCS / "examples").glob("*.py")} == set(SMALLER)


@every_example
def test_the_page_shows_the_lines_of_the_file(name):
  page = (DOCS / "examples.md").read_text()
  section = page.split(f"](examples/{name}.py)")[1].split("\n## ")[0]
  blocks = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
  assert blocks and all(block in text(name) for block in blocks)


@every_example
def test_is_short(name):
  assert len(list(own_lines(text(name)))) <= 25


@pytest.mark.slow
@every_example
def test_learns_every_task(name):
  source = text(name)
  for found, smaller in SMALLER[name].items():
    assert found in source
    source = source.replace(found, smaller)
  names = {"__name__": "__main__"}
  # A reader runs with JAX's own settings, see tests/test_readme.py.
  with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
    exec(compile(source, f"{name}.py", "exec"), names)
  for run, scores in names.get("runs", {"": (names.get("run"), names["scores"])}).values():
    lines = [line for line in run.history if line["kind"] == "valid"]
    losses = np.array([[line[f"{task}/loss"] for task in scores] for line in lines])
    assert np.isfinite([value for values in scores.values() for value in values.values()]).all()
    assert losses[-1].mean() < 0.8 * losses[0].mean()
    assert (losses.min(axis=0) < losses[0]).all()
