"""What is public is in `__all__`, told of in docstrings, and the pages made of them are those of the code."""

import importlib
import re
from pathlib import Path

import pytest

from docs import reference

ROOT = Path(__file__).parents[1]
MODULES = reference.public_modules()
PACKAGES = [".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "mtl_jax").rglob("__init__.py")]


def public():
  """All public functions and classes with their methods, by the names under which they are told of."""
  for place, name in reference.told_at(MODULES).items():
    module, _, last = name.rpartition(".")
    thing = reference.definition(MODULES[module], last)
    if not thing.is_module:
      assert thing.path == place
      yield name, thing
      yield from ((f"{name}.{method}", member) for method, member in reference.members(thing).items())


PUBLIC = dict(public())


def documented(thing, kind):
  """The names that a section of a docstring documents; True for one without names, None where there is none."""
  for section in reference.sections(thing):
    if section.kind.value == kind:
      return [item.name.lstrip("*") for item in section.value] if kind != "returns" else True
  return None


def test_packages_say_what_is_public():
  """But for the parts of methods, which are for those who write one in the library."""
  named = {name for name in PACKAGES if not re.search(r"\b_", name)} - {"mtl_jax.balance.toolkit"}
  assert named <= MODULES.keys()


@pytest.mark.parametrize("path", MODULES)
def test_names_exist_and_are_sorted(path):
  names = importlib.import_module(path).__all__
  assert names == sorted(names, key=lambda name: (not name[0].isupper(), name))
  exec(f"from {path} import *", found := {})
  assert found.keys() >= set(names)


@pytest.mark.parametrize("path", MODULES)
def test_the_docstring_of_a_module_says_what_each_name_is_for(path):
  """In lists, whose items begin with a name."""
  items = re.findall(r"^- (.*)$", MODULES[path].docstring.value, re.MULTILINE)
  told = [re.findall(r"`(\w+)`", item) for item in items]
  assert {names[0] for names in told} <= set(MODULES[path].exports) <= {name for names in told for name in names}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_tell_of_all_arguments_and_results(name):
  thing = PUBLIC[name]
  assert thing.docstring
  if thing.is_function:
    parameters = [parameter.name for parameter in thing.parameters if parameter.name != "self"]
    assert (documented(thing, "parameters") or []) == parameters
    assert documented(thing, "returns") or not parameters or str(thing.returns) == "None"
  if thing.is_class:
    assert (documented(thing, "attributes") or []) == list(reference.fields(thing))


@pytest.fixture(scope="module")
def pages():
  return reference.pages()


def test_pages_are_those_of_the_code(pages):
  written = {path.name: path.read_text() for path in reference.API.glob("*.md")}
  other = sorted(name for name in written.keys() | pages.keys() if written.get(name) != pages.get(name))
  assert other == [], "make reference"


def test_pages_lead_only_to_what_is_there(pages):
  anchors = {f"{name}#{anchor}" for name, text in pages.items() for anchor in re.findall(r'<a id="(.*?)">', text)}
  for text in pages.values():
    links = re.findall(r"`\]\((.*?)\)", text)
    assert links and set(links) <= anchors | pages.keys()
