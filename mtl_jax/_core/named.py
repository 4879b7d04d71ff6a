"""Values that users may give by name: `"pcgrad"` in place of `mtl.balance.pcgrad()`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from mtl_jax._core.errors import UserError, nearest


def named(what: str, given: Any, kind: type, package: str, names: Sequence[str]) -> Any:
  """The value that is given, or that a name stands for, with the defaults of the function of that name.

  Args:
    what: What it is, for messages, such as `"balancer"`.
    given: The value, or a name.
    kind: The type of the value.
    package: The package with one module per name, each with a function of that name which returns the value.
    names: The names.

  Returns:
    The value.

  Raises:
    UserError: An unknown name, or one whose function has required arguments; the function itself, uncalled; or
      something else.
  """
  if isinstance(given, kind):
    return given
  short = package.replace("mtl_jax", "mtl")
  if isinstance(given, str):
    function = function_of(what, given, package, names)
    if needed := required(function):
      arguments = ", ".join(f"{name}=..." for name in needed)
      raise UserError(f"{what} {given!r} needs {', '.join(needed)}: pass {short}.{given}({arguments}).")
    return function()
  if inspect.isfunction(given):
    place = f"{short}.{given.__name__}" if given.__name__ in names else given.__name__
    raise UserError(f"{what} is the function {given.__name__}, expected what it returns: call it, {place}(...).")
  if inspect.ismodule(given):
    raise UserError(f"{what} is the module {given.__name__}, expected one of its methods, such as {names[-1]!r}.")
  raise UserError(
    f"{what} is {described(given)}, expected a name, such as {names[-1]!r}, or {_article(kind.__name__)}, such as "
    f"{short}.{names[-1]}(...)."
  )


def function_of(what: str, name: str, package: str, names: Sequence[str]) -> Callable[..., Any]:
  """The function that a name stands for.

  Raises:
    UserError: An unknown name.
  """
  if name not in names:
    raise UserError(f"unknown {what} {name!r}{nearest(name, names)}: choose from {', '.join(names)}.")
  return getattr(importlib.import_module(f"{package}.{name}"), name)


def required(function: Callable[..., Any]) -> list[str]:
  """The arguments without which a function cannot be called.

  >>> required(lambda a, b=1: a)
  ['a']
  """
  parameters = inspect.signature(function).parameters
  return [name for name, parameter in parameters.items() if parameter.default is parameter.empty]


def described(value: Any) -> str:
  """A value that is not what was expected, in a few words.

  >>> described(0.001), described([1, 2]), described(dict), described(described)
  ('0.001', 'a list', 'the class dict', 'the function described')
  """
  if value is None or isinstance(value, str | int | float):
    return repr(value)
  if inspect.isclass(value):
    return f"the class {value.__name__}"
  if inspect.isfunction(value):
    return f"the function {value.__name__}"
  return _article(type(value).__name__)


def _article(name: str) -> str:
  return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
