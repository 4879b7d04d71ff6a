"""How the package hangs together: no import cycle, and no package reaches into the private modules of another."""

import ast
import graphlib
import re
import sys
import tomllib
from pathlib import Path

from mtl_jax.export.formats import FORMATS
from mtl_jax.plan._topology import _COMPILERS

ROOT = Path(__file__).parents[1]
SHARED = ("mtl_jax._core", "mtl_jax._jaxpr")  # private to the library, not to one package of it
MODULES = {
  ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
  for path in (ROOT / "mtl_jax").rglob("*.py")
}


def imports(path: Path) -> set[str]:
  """The modules of the library that a file imports, those imported inside functions included."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
      found |= {f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in MODULES else node.module for a in node.names}
    elif isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
  return found & MODULES.keys()


GRAPH = {module: imports(path) for module, path in MODULES.items()}


def package(module: str) -> str:
  return ".".join(module.split(".")[:2])


def test_modules_import_each_other_in_no_cycle():
  graphlib.TopologicalSorter(GRAPH).prepare()  # raises a CycleError


def test_packages_import_each_other_in_no_cycle():
  packages: dict[str, set[str]] = {}
  for module, imported in GRAPH.items():
    others = {package(other) for other in imported} - {package(module)}
    packages.setdefault(package(module), set()).update(others)
  graphlib.TopologicalSorter(packages).prepare()


def test_no_package_imports_private_modules_of_another():
  private = [
    f"{module} imports {other}"
    for module, imported in GRAPH.items()
    for other in imported
    if package(module) != package(other)
    and not other.startswith(SHARED)
    and any(part.startswith("_") for part in other.split("."))
  ]
  assert private == []


def test_core_depends_on_nothing_else():
  assert {package(other) for module in GRAPH if module.startswith(SHARED) for other in GRAPH[module]} <= set(SHARED)


def test_no_program_hides_a_module_of_the_standard_library():
  """The directory of a program comes first where modules are looked for; `compression` is new in Python 3.14."""
  standard = {*sys.stdlib_module_names, "compression"}
  assert [path for part in ("benchmarks", "docs") for path in (ROOT / part).glob("*.py") if path.stem in standard] == []


def test_extras_that_are_named_exist():
  """In messages, in docstrings and in prose: each is one of pyproject.toml, and no library is asked for but by one."""
  known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
  named = []
  for path in [*(ROOT / "mtl_jax").rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
    text = path.read_text()
    named += [(path, name) for some in re.findall(r"mtl-jax\[([\w,-]+)\]", text) for name in some.split(",")]
    named += [(path, name) for name in re.findall(r"\bextra\(\"([^\"]+)\"", text)]
  named += [("export", kind.extra) for kind in FORMATS.values()]
  named += [("plan", name) for extras in _COMPILERS.values() for name in extras]
  assert len(named) > 30
  assert [(path, name) for path, name in named if name not in known] == []
