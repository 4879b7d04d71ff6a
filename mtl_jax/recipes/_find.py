"""Recipes by their names: those of this package, and functions in files and modules of the user's own."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from mtl_jax._core.errors import UserError, nearest
from mtl_jax.recipes._recipe import Recipe

DEFAULT = "recipe"
"""The function of a file of one's own that is named alone."""
_PACKAGE = __name__.rpartition(".")[0]


def names() -> tuple[str, ...]:
  """The names of the package's own recipes, each a function of the module of the same name.

  >>> "digits" in names()
  True
  """
  found = pkgutil.iter_modules(sys.modules[_PACKAGE].__path__)
  return tuple(sorted(m.name for m in found if not m.name.startswith("_")))


def find(name: str) -> Callable[..., Recipe]:
  """The function that makes a recipe; its parameters are the recipe's options.

  Files and modules of one's own are run, and may import what lies beside the file, or in the current directory.

  Args:
    name: One of `names()`; `path/file.py`, for the function `recipe` of that file; `path/file.py:function`; or
      `package.module:function`.

  Returns:
    The function.

  Raises:
    UserError: There is no such recipe, file, module or function.
  """
  if name in names():
    return getattr(importlib.import_module(f"{_PACKAGE}.{name}"), name)
  place, colon, function = name.rpartition(":") if ":" in name else (name, "", DEFAULT)
  if place.endswith(".py"):
    module = _run_file(Path(place))
  elif colon:
    module = _import(place)
  else:
    known = ", ".join(names())
    own = "or name a file of your own, my.py or my.py:function"
    raise UserError(f"unknown recipe {name!r}{nearest(name, names())}: choose from {known}, {own}.")
  found: Any = getattr(module, function, None)
  if not callable(found):
    here = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    has = f"it has {', '.join(here)}" if here else "it has none"
    raise UserError(f"{place} has no function {function!r}{nearest(function, here)}, {has}: name one, {place}:NAME.")
  return cast(Callable[..., Recipe], found)


def load(name: str, **options: Any) -> Recipe:
  """The recipe of that name.

  Args:
    name: As in `find`.
    **options: Arguments of its function.

  Returns:
    The recipe.

  Raises:
    UserError: As in `find`; or the function returns something else.

  >>> load("digits", num_pairs=500).batch_size
  128
  """
  return checked(name, find(name)(**options))


def checked(name: str, recipe: Any) -> Recipe:
  """The recipe, if it is one.

  Args:
    name: By which it was found, for the message.
    recipe: Whatever a function returned.

  Returns:
    The recipe.

  Raises:
    UserError: It is something else.
  """
  if not isinstance(recipe, Recipe):
    raise UserError(f"recipe {name!r} returned {type(recipe).__name__}, expected mtl.recipes.Recipe.")
  return recipe


def traceback_in(name: str | None, error: BaseException) -> str | None:
  """An error of a recipe of one's own in short: where in its file, and what.

  Args:
    name: By which the recipe was found.
    error: The error.

  Returns:
    Some lines; None: the error is not from that file.
  """
  if name is None or name in names():
    return None
  place = name.rpartition(":")[0] or name
  file = place if place.endswith(".py") else getattr(sys.modules.get(place), "__file__", None)
  frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
  if not frames and getattr(error, "filename", None) != file:  # what a file that is no Python names is itself
    return None
  return "".join([*traceback.format_list(frames), *traceback.format_exception_only(error)]).rstrip()


def _run_file(path: Path) -> ModuleType:
  if not path.is_file():
    raise UserError(f"cannot read the recipe {path}: there is no such file.")
  module = ModuleType(f"own_recipe_{path.stem}")
  module.__file__ = str(path)
  sys.modules[module.__name__] = module  # where dataclasses look for the names in their annotations
  _search(path.absolute().parent)
  try:
    exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
  except BaseException:
    del sys.modules[module.__name__]
    raise
  return module


def _import(name: str) -> ModuleType:
  _search(Path.cwd())
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    if error.name is None or not f"{name}.".startswith(f"{error.name}."):
      raise  # one that the module imports
    raise UserError(f"there is no module {name!r} with a recipe: name one, or a file, my.py:function.") from error


def _search(directory: Path) -> None:
  """Has modules looked for in a directory, too, as Python does with that of a script."""
  if str(directory) not in sys.path:
    sys.path.append(str(directory))
