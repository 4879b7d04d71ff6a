"""Trees with other values in some of their places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError


def filled(tree: Any, given: Mapping[str, Any], what: str, place: str = "") -> Any:
  """The tree with the values given, by their paths, in the dtypes of the tree.

  Args:
    tree: Arrays, or their shapes.
    given: `{path: array}`.
    what: Where they come from, for messages.
    place: The path of the tree, with a slash at its end.

  Returns:
    The tree; leaves that are not given stay.

  Raises:
    UserError: A value has another shape, or is of another kind of numbers.
  """

  def one(path: Any, leaf: Any) -> Any:
    name = place + jax.tree_util.keystr(path, simple=True, separator="/")
    if name not in given:
      return leaf
    value = given[name]
    if value.shape != leaf.shape or _kind(value) != _kind(leaf):
      found, expected = (f"{jnp.dtype(v.dtype).name}{list(v.shape)}" for v in (value, leaf))
      raise UserError(f"{what}: {name!r} is {found}, expected {expected}: it is of another net.")
    return jnp.array(value, leaf.dtype)  # a copy: a step may be given its parameters to overwrite

  return jax.tree_util.tree_map_with_path(one, tree)


def _kind(leaf: Any) -> bool:
  return jnp.issubdtype(leaf.dtype, jnp.inexact)
