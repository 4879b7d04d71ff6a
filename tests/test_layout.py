"""How the package hangs together: no import cycle, and no package reaches into the private modules of another."""

import ast
import graphlib
from pathlib import Path

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
