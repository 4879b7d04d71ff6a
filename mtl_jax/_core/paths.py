"""Parameters named by their paths, and chosen by regular expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

import jax

from mtl_jax._core.errors import UserError, some
from mtl_jax._core.packed import is_packed


def by_path(tree: Any) -> dict[str, Any]:
  """The leaves of a tree by their paths, for example `params/Dense_0/kernel`."""
  return {_told(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def map_with_paths(function: Callable[[list[str], Any, int | None], Any], tree: Any) -> Any:
  """The tree with `function(paths, leaf, axis)` for each leaf.

  Args:
    function: Its arguments are the paths, a leaf, and along which of its axes the values of these paths lie; None: of
      one path, without such an axis.
    tree: The tree, with packed dictionaries or without.

  Returns:
    A tree of the same structure.

  >>> map_with_paths(lambda paths, leaf, axis: (paths, axis), {"a": {"w": 1}})
  {'a': {'w': (['a/w'], None)}}
  """

  def one(place: Any, node: Any) -> Any:
    if not is_packed(node):
      return function([_told(place)], node, None)
    trees = []
    for names, of_names in zip(node.groups, node.trees, strict=True):
      before, axis = [f"{_told(place)}/{name}/" for name in names], node.axis if len(names) > 1 else None

      def several(path: Any, leaf: Any, before: list[str] = before, axis: int | None = axis) -> Any:
        return function([start + _told(path) for start in before], leaf, axis)

      trees.append(jax.tree_util.tree_map_with_path(several, of_names))
    return node.like(trees)

  return jax.tree_util.tree_map_with_path(one, tree, is_leaf=is_packed)


def _told(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator="/")


def compiled(what: str, pattern: str) -> re.Pattern[str]:
  """The regular expression; raises a `UserError` that begins with `what` where it is none."""
  try:
    return re.compile(pattern)
  except re.error as error:
    raise UserError(f"{what}: {pattern!r} is no regular expression: {error}.") from error


def check_patterns(what: str, patterns: Iterable[str], paths: Collection[str]) -> None:
  """Raises a `UserError` for a pattern that is no regular expression or is found in none of the paths.

  Where there are no paths at all, nothing is in vain: optax asks optimizers for their state of a tree without leaves,
  to find out what of the state is laid out like parameters.
  """
  for pattern in patterns:
    if paths and not any(map(compiled(what, pattern).search, paths)):
      raise UserError(f"{what}: no parameter matches {pattern!r}: there are {some(paths)}.")


def matching(tree: Any, pattern: str | None) -> dict[str, Any]:
  """The leaves whose paths the regular expression matches somewhere; None: all.

  Raises:
    UserError: It matches none, or is no regular expression.

  >>> list(matching({"Dense_0": {"kernel": 1, "bias": 2}, "Dense_1": {"bias": 3}}, "Dense_0"))
  ['Dense_0/bias', 'Dense_0/kernel']
  """
  leaves = by_path(tree)
  if pattern is None:
    return leaves
  try:
    found = {path: leaf for path, leaf in leaves.items() if re.search(pattern, path)}
  except re.error as error:
    raise UserError(f"{pattern!r} is no regular expression: {error}.") from error
  if not found:
    raise UserError(f"no shared parameter matches {pattern!r}: there are {', '.join(leaves)}.")
  return found
