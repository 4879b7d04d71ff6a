"""Runnable experiments, one per file: data, network and tasks in one screenful.

- `names`: the names of all recipes, such as `digits`, for `mtl-jax train digits` too.
- `load`: the recipe of a name.
- `Recipe`, `Splits`: its type, and its data.
"""

from __future__ import annotations

import importlib
import pkgutil

from mtl_jax._core.errors import UserError, nearest
from mtl_jax.recipes._recipe import Recipe, Splits

__all__ = ["Recipe", "Splits", "load", "names"]


def names() -> tuple[str, ...]:
  """The names of all recipes, each a function of the module of the same name.

  >>> "digits" in names()
  True
  """
  return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def load(name: str) -> Recipe:
  """The recipe of that name, with its default settings.

  Args:
    name: One of `names()`.

  Returns:
    The recipe.

  Raises:
    UserError: No such recipe.

  >>> load("digits").batch_size
  128
  """
  if name not in names():
    raise UserError(f"unknown recipe {name!r}{nearest(name, names())}: choose from {', '.join(names())}.")
  return getattr(importlib.import_module(f"{__name__}.{name}"), name)()
