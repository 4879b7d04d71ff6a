"""The pages of `docs/api`, made from the docstrings of the library: `make reference` writes them anew.

A module has a page if it has `__all__`, and the page tells of the names there, in their order. What several modules
export, such as `mtl_jax.fit` and `mtl_jax.train.fit`, is told by the innermost of them, and the others lead there. The
code is read, not run: griffe finds the definitions and the sections of their docstrings.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api"
TITLES = {"parameters": "Args", "attributes": "Attributes", "returns": "Returns", "raises": "Raises"}


def public_modules() -> dict[str, griffe.Module]:
  """The modules with `__all__`, by their names."""

  def within(module: Any) -> Iterator[Any]:
    yield module
    for inner in module.members.values():
      if not inner.is_alias and inner.is_module:
        yield from within(inner)

  found = {module.path: module for module in within(griffe.load("mtl_jax", search_paths=[ROOT]))}
  return {path: module for path, module in sorted(found.items()) if module.exports is not None}


def definition(module: Any, name: str) -> Any:
  """What a name of a module means. An import hides a module of the same name: `mtl_jax.balance.mgda` is a function."""
  parent, _, last = module.imports.get(name, f"{module.path}.{name}").rpartition(".")
  return module.members[last] if parent == module.path else definition(module.modules_collection[parent], last)


def sections(thing: Any) -> list[Any]:
  """The parts of a docstring, in their order."""
  return thing.docstring.parse("google", returns_multiple_items=False, warnings=False) if thing.docstring else []


def told_at(modules: Mapping[str, Any]) -> dict[str, str]:
  """Under which public name each definition is told of, by the place of its definition."""
  found = {}
  for path in sorted(modules, key=lambda path: path.count(".")):
    found |= {definition(modules[path], name).path: f"{path}.{name}" for name in modules[path].exports}
  return found


def links_to(modules: Mapping[str, Any], at: Mapping[str, str]) -> dict[str, str]:
  """Where public names are told of, by what prose calls them: `mtl_jax.fit` and `mtl.fit`."""
  found = {path: f"{path}.md" for path in modules if "." in path}
  for path, module in modules.items():
    for name in module.exports:
      home = at[definition(module, name).path]
      found[f"{path}.{name}"] = f"{home}.md" if home in modules else f"{home.rpartition('.')[0]}.md#{home}"
  return found | {re.sub("^mtl_jax", "mtl", path): link for path, link in found.items()}


def linked(text: str, links: Mapping[str, str]) -> str:
  """Prose with links from the names in backticks that are known."""
  return re.sub(r"`([\w.]+)`", lambda m: f"[{m[0]}]({links[m[1]]})" if m[1] in links else m[0], text)


def head(thing: Any) -> str:
  """A definition down to its docstring, as it stands in its file."""
  lines = thing.lines[: thing.docstring.lineno - thing.lineno] if thing.docstring else thing.lines
  return textwrap.dedent("\n".join(lines)).strip()


def code(thing: Any) -> str:
  """How a function is called, what a class holds, or what a name stands for."""
  if thing.is_class:
    held = [member.source for member in fields(thing).values()]
    made = [head(member).partition(":\n")[0] for name, member in thing.members.items() if name == "__init__"]
    return "\n".join([head(thing), *(textwrap.indent(line, "  ") for line in held or made)])
  if thing.is_function:
    called = head(thing)
    return called[called.index("def ") :].removesuffix(":")  # without decorators
  return "@property\n" + head(thing).removesuffix(":") if "property" in thing.labels else thing.source


def fields(thing: Any) -> dict[str, Any]:
  """The fields of a dataclass, a named tuple or a Linen module, by their names."""
  found = {name: member for name, member in thing.members.items() if member.is_attribute and member.annotation}
  return {name: member for name, member in found.items() if "property" not in member.labels}


def body(thing: Any, links: Mapping[str, str]) -> Iterator[str]:
  """A docstring as parts of a page."""
  for section in sections(thing):
    kind, value = section.kind.value, section.value
    if kind == "text":
      for part in re.split(r"\n\n(?! )", value):
        yield f"```pycon\n{part}\n```" if part.startswith(">>>") else linked(part, links)
    elif kind == "admonition":  # any other section, such as References
      yield f"**{section.title}**\n\n{linked(value.description, links)}"
    elif kind == "returns":
      (found,) = value
      text = f"{found.name}: {found.description}" if found.name else found.description
      yield f"**{TITLES[kind]}**\n\n{linked(text, links)}"
    else:
      names = [item.annotation if kind == "raises" else item.name for item in value]
      items = [f"- `{name}`: {item.description}" for name, item in zip(names, value, strict=True)]
      told = [linked(textwrap.indent(item, "  ").strip(), links) for item in items]
      yield f"**{TITLES[kind]}**\n\n" + "\n".join(told)


def members(thing: Any) -> dict[str, Any]:
  """The public methods and properties of a class, by their names."""
  found = thing.members.items() if thing.is_class else ()
  called = {name: m for name, m in found if m.is_function or "property" in m.labels}
  return {name: m for name, m in called.items() if name == "__call__" or not name.startswith("_")}


def entry(path: str, name: str, thing: Any, links: Mapping[str, str]) -> Iterator[str]:
  """A definition and its members as parts of a page."""
  yield f'<a id="{path}"></a>\n\n##{"#" * name.count(".")} `{name}`'
  yield f"```python\n{code(thing)}\n```"
  yield from body(thing, links)
  for last, member in members(thing).items():
    yield from entry(f"{path}.{last}", f"{name}.{last}", member, links)


def page(module: Any, at: Mapping[str, str], links: Mapping[str, str]) -> str:
  """The page of a module."""
  own = {name: links[f"{module.path}.{name}"] for name in module.exports}
  parts = [f"# `{module.path}`", linked(module.docstring.value, {**links, **own})]
  for name in module.exports:
    thing, path = definition(module, name), f"{module.path}.{name}"
    if at[thing.path] == path and not thing.is_module:
      parts += entry(path, name, thing, links)
  return "\n\n".join(parts) + "\n"


def index(modules: Mapping[str, Any], links: Mapping[str, str]) -> str:
  """The first page: all modules and their names."""
  parts = ["# Reference", "All public names, a page a module, made from the docstrings by `make reference`."]
  for path, module in modules.items():
    names = (f"[`{name}`]({links[f'{path}.{name}']})" for name in module.exports)
    parts += [f"## [`{path}`]({path}.md)", module.docstring.value.split("\n")[0], ", ".join(names)]
  return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
  """All pages by the names of their files."""
  modules = public_modules()
  at = told_at(modules)
  links = links_to(modules, at)
  return {"README.md": index(modules, links)} | {f"{path}.md": page(m, at, links) for path, m in modules.items()}


if __name__ == "__main__":
  API.mkdir(exist_ok=True)
  for old in API.glob("*.md"):
    old.unlink()
  for file, text in pages().items():
    (API / file).write_text(text)
