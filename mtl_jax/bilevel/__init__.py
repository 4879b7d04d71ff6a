"""Bilevel methods: task weights learned on validation data, one method per file.

Each method is a function that returns a `Bilevel`, for `mtl.make_bilevel_step`.

- `auto_lambda`: weights that lower the validation losses of chosen tasks after one step.
- `moml`: weights that lower the validation losses of all tasks after one step.
- `forum`: the validation losses are balanced while the training losses stay near their minimum.

To write a method:

- `Bilevel`, `Levels`: its type, and what it gets to see.
- `names`: the names of all methods.
"""

from mtl_jax.bilevel.auto_lambda import auto_lambda
from mtl_jax.bilevel.forum import forum
from mtl_jax.bilevel.method import Bilevel, Levels
from mtl_jax.bilevel.moml import moml

__all__ = ["Bilevel", "Levels", "auto_lambda", "forum", "moml", "names"]


def names() -> tuple[str, ...]:
  """The names of all bilevel methods, each a function of this module."""
  return ("auto_lambda", "forum", "moml")
