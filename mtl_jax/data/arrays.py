"""Data sets as trees: entries that are arrays or, for inputs of several parts, dictionaries and tuples of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import is_packed


def as_arrays(arrays: Mapping[str, Any]) -> dict[str, Any]:
  """The data set with numpy arrays for leaves, entries in the same order.

  Lists and tuples of numbers are arrays, as numpy reads them; dictionaries and tuples of arrays are trees.

  Raises:
    UserError: An entry is no array and holds none, or is a list of arrays of different shapes.

  >>> as_arrays({"x": {"image": [[1, 2]], "text": np.ones((1, 3))}})["x"]["image"].shape
  (1, 2)
  """
  return {key: _entry(key, value) for key, value in arrays.items()}


def leaves_of(arrays: Mapping[str, Any]) -> dict[str, Any]:
  """The arrays of a data set or batch by their paths.

  >>> list(leaves_of({"x": {"text": 1, "image": 2}, "a": 3}))
  ['x/image', 'x/text', 'a']
  """
  found = {}
  entries = (
    zip([names[0] for names in arrays.groups], arrays.trees, strict=True) if is_packed(arrays) else arrays.items()
  )
  for key, value in entries:
    for path, leaf in jax.tree_util.tree_leaves_with_path(value):
      found["/".join(filter(None, [str(key), jax.tree_util.keystr(path, simple=True, separator="/")]))] = leaf
  return found


def check_lengths(arrays: Mapping[str, Any]) -> int:
  """The number of examples, at least 1 and the same in all arrays.

  Raises:
    UserError: It is not, or there are no arrays.
  """
  leaves = leaves_of(arrays)
  if not leaves:
    raise UserError("the data set holds no arrays, expected {key: array of N examples}.")
  first = next(iter(leaves))
  for path, values in leaves.items():
    if values.ndim == 0:
      raise UserError(f"array {path!r} is a scalar, expected one entry per example, (N, ...).")
    if len(values) != len(leaves[first]):
      raise UserError(
        f"array {path!r} has {len(values)} examples, expected {len(leaves[first])} as in {first!r}: "
        "where tasks have examples of their own, pass fit(train={task: arrays, ...})."
      )
  if len(leaves[first]) == 0:
    raise UserError(f"the data set is empty: array {first!r} has shape {leaves[first].shape}, expected examples.")
  return len(leaves[first])


def take(arrays: Mapping[str, Any], rows: Any) -> dict[str, Any]:
  """Some examples, by a slice or an array of their numbers.

  >>> take({"x": {"image": np.arange(3)}}, slice(2))
  {'x': {'image': array([0, 1])}}
  """
  return {key: jax.tree.map(lambda leaf: leaf[rows], value) for key, value in arrays.items()}


def _entry(key: str, value: Any) -> Any:
  try:
    entry = jax.tree.map(np.asarray, value, is_leaf=_is_array)
  except (TypeError, ValueError) as error:  # a list of lists of different lengths
    reason = str(error).splitlines()[0]
    raise UserError(f"array {key!r} cannot be read as an array: {reason} Pad its examples to one shape.") from error
  if not jax.tree.leaves(entry):
    raise UserError(f"array {key!r} is {value!r}, which holds no array: expected one entry per example, (N, ...).")
  return entry


def _is_array(node: Any) -> bool:
  if isinstance(node, tuple):
    return all(_is_number(part) or _is_array(part) for part in node)
  return isinstance(node, list)


def _is_number(node: Any) -> bool:
  return isinstance(node, bool | int | float | complex) or getattr(node, "shape", None) == ()
