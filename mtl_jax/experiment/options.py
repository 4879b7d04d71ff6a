"""Balancers, engines, architectures and recipes from their names and command-line options."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import io
import operator
import types
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mtl_jax import arch, balance, engine, recipes
from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.named import function_of, required
from mtl_jax.arch.named import PARTS
from mtl_jax.balance import Balancer
from mtl_jax.engine import Engine
from mtl_jax.recipes import Recipe


def build_balancer(name: str, options: Sequence[str] = ()) -> Balancer:
  """The balancer `name` with options as on the command line, for example `["--temperature", "1.5"]`.

  >>> build_balancer("dwa", ["--window", "50"]).init(2).step.item()
  0
  """
  return _build(balance, "balancer", name, options)


def build_engine(name: str, options: Sequence[str] = ()) -> Engine:
  """The engine `name` with options as on the command line.

  >>> build_engine("stacked", ["--one-by-one", "True"]).name
  'stacked'
  """
  return _build(engine, "engine", name, options)


def build_arch(name: str, options: Sequence[str] = ()) -> arch.Architecture:
  """The architecture `name` with options as on the command line.

  >>> build_arch("mmoe", ["--experts", "8"]).keywords["experts"]
  8
  """
  function = function_of("arch", name, arch.__name__, arch.names())
  return functools.partial(function, **_values(function, f"--arch {name}", list(options), PARTS))


def build_recipe(name: str, options: Sequence[str] = ()) -> Recipe:
  """The recipe `name`, one of the user's own too (`mtl.recipes.find`), with options as on the command line.

  >>> build_recipe("digits", ["--num-pairs", "500"]).name
  'digits'
  """
  return recipes.checked(name, _call(recipes.find(name), f"--recipe {name}", list(options)))


def without_options(module: Any) -> list[str]:
  """The names of `module` whose functions can be called without arguments, but for trunk and heads.

  >>> "constant" in without_options(balance), "equal" in without_options(balance)
  (False, True)
  """
  return [name for name in module.names() if set(required(getattr(module, name))) <= set(PARTS)]


def _build(module: Any, kind: str, name: str, options: Sequence[str]) -> Any:
  function = function_of(kind, name, module.__name__, module.names())
  return _call(function, f"--{kind} {name}", list(options))


def _call(function: Callable[..., Any], title: str, options: list[str]) -> Any:
  """`function` called with `options`, parsed by its signature."""
  return function(**_values(function, title, options))


def _values(function: Callable[..., Any], title: str, options: list[str], given: Sequence[str] = ()) -> dict[str, Any]:
  """The arguments that `options` stand for, parsed by the signature of `function`, but for those that are `given`."""
  import tyro

  kind = _parseable(function, given)
  parameters = [field.name.replace("_", "-") for field in dataclasses.fields(kind)]
  switches = [
    f"no-{name}" for name, field in zip(parameters, dataclasses.fields(kind), strict=True) if field.type is bool
  ]
  for word in options:
    option = word[2:].partition("=")[0].replace("_", "-")
    if word.startswith("--") and option not in (*parameters, *switches):
      known = f"it has {', '.join(parameters)}" if parameters else "it has none"
      raise UserError(f"{title} has no option {option!r}{nearest(option, parameters)}: {known}.")
  message = io.StringIO()
  try:
    with contextlib.redirect_stdout(message), contextlib.redirect_stderr(message):
      parsed = tyro.cli(kind, prog=title, args=options, description="")
  except SystemExit as error:
    words = " ".join(message.getvalue().replace("│", " ").replace("─", " ").split())
    raise UserError(f"{title} {' '.join(options)}: {words}") from error
  values = {field.name: getattr(parsed, field.name) for field in dataclasses.fields(parsed)}
  for name, value in values.items():
    if any(number != number for number in (value if isinstance(value, tuple | list) else (value,))):
      raise UserError(f"{title}: {name} is {value}, expected numbers.")  # no range that functions check holds NaN
  return values


def _parseable(function: Callable[..., Any], given: Sequence[str]) -> type:
  """A dataclass of the function's parameters that words can give: no functions, no optimizers."""
  hints = get_type_hints(function)
  fields = []
  for name, parameter in _named(function).items():
    if name in given:
      continue
    hint = hints.get(name, type(parameter.default))  # functions of the user's own need not say it
    kind = functools.reduce(operator.or_, filter(_is_word, get_args(hint))) if _is_union(hint) else hint
    if kind is not type(None):
      default = () if parameter.default is parameter.empty else (dataclasses.field(default=parameter.default),)
      fields.append((name, kind, *default))
  return dataclasses.make_dataclass(function.__name__, fields, kw_only=True)


def _named(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
  """The parameters that can be given by their names."""
  every = inspect.signature(function).parameters
  return {name: p for name, p in every.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _is_union(hint: Any) -> bool:
  return get_origin(hint) in (types.UnionType, Union)


def _is_word(hint: Any) -> bool:
  kind = get_origin(hint) or hint
  return kind in (int, float, str, bool, type(None), tuple, list, Sequence, Literal)
