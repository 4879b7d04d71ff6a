"""Bilevel methods: task weights learned on validation data, one method per file."""

from mtl_jax.bilevel.auto_lambda import auto_lambda as auto_lambda
from mtl_jax.bilevel.forum import forum as forum
from mtl_jax.bilevel.method import Bilevel as Bilevel
from mtl_jax.bilevel.method import Levels as Levels
from mtl_jax.bilevel.moml import moml as moml


def names() -> tuple[str, ...]:
  """The names of all bilevel methods, each a function of this module."""
  return ("auto_lambda", "forum", "moml")
