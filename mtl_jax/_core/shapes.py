"""Shapes of what a function would return, where its values must not be made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

_WANTED = jax.make_user_context(default_value=False)  # part of JAX's keys: no trace for shapes is taken for values


def shapes(function: Callable[..., Any], *arguments: Any) -> Any:
  """As `jax.eval_shape`, for functions that may ask by `only_shapes` whether anything else than shapes is wanted.

  What asks for the shapes of a net's parameters does it by this function, so that it needs no file of weights.

  >>> shapes(lambda: jax.numpy.zeros(2 if only_shapes() else 3)).shape, only_shapes()
  ((2,), False)
  """
  with _WANTED(True):
    return jax.eval_shape(function, *arguments)


def only_shapes() -> bool:
  """Whether the function that asks is traced by `shapes`."""
  return _WANTED.value
