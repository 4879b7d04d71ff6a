"""Engines by name: what all of them are called, and the one that a name stands for."""

from __future__ import annotations

from typing import Any

from mtl_jax._core.named import named
from mtl_jax.engine._engine import Engine


def names() -> tuple[str, ...]:
  """The names of all engines, each a function of this module."""
  return ("auto", "every", "factored", "features", "gram", "losses", "sketched", "stacked")


def as_engine(given: Any, what: str = "engine") -> Engine:
  """The engine that is given, or that a name stands for, with its defaults; all that take an engine take either.

  Args:
    given: An engine, or one of `names()`.
    what: Which option it is, for messages.

  Returns:
    The engine.

  Raises:
    UserError: An unknown name, or something that is no engine, such as the function `mtl.engine.gram`, uncalled.

  >>> as_engine("gram").name
  'gram'
  """
  return named(what, given, Engine, "mtl_jax.engine", names())
