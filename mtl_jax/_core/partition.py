"""A tree as two, each with some of its leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from mtl_jax._core.rows import Rows


def partition(tree: Any, chosen: Callable[[str, Any], bool]) -> tuple[Any, Any]:
  """The tree twice: with the leaves that are chosen, and with all others; None, which is no leaf, in their places.

  Args:
    tree: Any tree.
    chosen: `chosen(path, leaf)`, with paths like `shared/Dense_0/kernel`.

  Returns:
    Both trees.

  >>> partition({"h": 1.0, "mask": True}, lambda path, leaf: path == "h")
  ({'h': 1.0, 'mask': None}, {'h': None, 'mask': True})
  """
  leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
  taken = [chosen(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]
  both = [(leaf, is_taken) for (_, leaf), is_taken in zip(leaves, taken, strict=True)]
  some = [leaf if is_taken else None for leaf, is_taken in both]
  others = [None if is_taken else leaf for leaf, is_taken in both]
  return jax.tree.unflatten(structure, some), jax.tree.unflatten(structure, others)


def joined(some: Any, others: Any) -> Any:
  """The tree whose `partition` these are; where the other one has only the numbers of rows, these are their values."""

  def one(a, b):
    if a is None:
      return b
    return b._replace(values=a) if isinstance(b, Rows) else a

  return jax.tree.map(one, some, others, is_leaf=lambda leaf: leaf is None)
