"""Balancers and engines from their names and command-line options."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable, Sequence
from typing import Any

from mtl_jax import balance, engine
from mtl_jax._errors import UserError, nearest
from mtl_jax.balance import Balancer
from mtl_jax.engine import Engine


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


def without_options(module: Any) -> list[str]:
  """The names of `module` whose functions can be called without arguments.

  >>> "constant" in without_options(balance), "equal" in without_options(balance)
  (False, True)
  """
  signatures = {name: inspect.signature(getattr(module, name)) for name in module.names()}
  empty = inspect.Parameter.empty
  return [name for name, s in signatures.items() if all(p.default is not empty for p in s.parameters.values())]


def _build(module: Any, kind: str, name: str, options: Sequence[str]) -> Any:
  if name not in module.names():
    known = ", ".join(module.names())
    raise UserError(f"unknown {kind} {name!r}{nearest(name, module.names())}: choose from {known}.")
  return _call(getattr(module, name), f"--{kind} {name}", list(options))


def _call(function: Callable[..., Any], title: str, options: list[str]) -> Any:
  """`function` called with `options`, parsed by its signature."""
  import tyro

  parameters = [name.replace("_", "-") for name in inspect.signature(function).parameters]
  for word in options:
    option = word[2:].partition("=")[0].replace("_", "-")
    if word.startswith("--") and option not in parameters:
      known = f"it has {', '.join(parameters)}" if parameters else "it has none"
      raise UserError(f"{title} has no option {option!r}{nearest(option, parameters)}: {known}.")
  message = io.StringIO()
  try:
    with contextlib.redirect_stdout(message), contextlib.redirect_stderr(message):
      return tyro.cli(function, prog=title, args=options, description="", console_outputs=True)
  except SystemExit as error:
    words = " ".join(message.getvalue().replace("│", " ").replace("─", " ").split())
    raise UserError(f"{title} {' '.join(options)}: {words}") from error
