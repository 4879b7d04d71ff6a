"""Parameters named by their paths, and chosen by regular expressions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

import jax

from mtl_jax._core.errors import UserError, some


def by_path(tree: Any) -> dict[str, Any]:
  """The leaves of a tree by their paths, for example `params/Dense_0/kernel`."""
  found = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in found}


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
