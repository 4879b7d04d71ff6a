"""The Pythons that are supported are the same wherever they are named."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SUPPORTED = [name for line in PROJECT["project"]["classifiers"] for name in re.findall(r"Python :: (3\.\d+)$", line)]


def test_the_makefile_looks_for_them_newest_first():
  (line,) = re.findall(r"^PYTHONS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
  assert line.split() == [f"python{version}" for version in reversed(SUPPORTED)]


def test_the_oldest_is_required_and_checked_for_types():
  assert PROJECT["project"]["requires-python"] == f">={SUPPORTED[0]}"
  assert PROJECT["tool"]["pyright"]["pythonVersion"] == SUPPORTED[0]


def test_workflows_test_them_and_may_fail_on_later_ones_only():
  workflow = (ROOT / ".github/workflows/tests.yml").read_text()
  (matrix,) = re.findall(r"^ +python: \[(.*)\]$", workflow, re.MULTILINE)
  (allowed,) = re.findall(r"continue-on-error: \$\{\{ matrix\.python == '(.*)' \}\}", workflow)
  assert re.findall(r"[\d.]+", matrix) == [*SUPPORTED, allowed] and allowed not in SUPPORTED


def test_a_version_is_allowed_from_a_lower_bound_on():
  """Which `make test-lowest` installs."""
  groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
  bounds = [re.sub(r"^[\w-]+(\[[\w,]+\])?", "", line) for group in groups for line in group if "mtl-jax" not in line]
  assert bounds and all(re.fullmatch(r">=[\d.]+", bound) for bound in bounds)
