"""What is known of a data set without its examples, as plain JSON: a run keeps it, to be opened without the data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.data.arrays import leaves_of
from mtl_jax.data.sample import spec_of
from mtl_jax.data.views import is_own


class Description(NamedTuple):
  """A data set without its examples.

  Attributes:
    arrays: The entries of the data set, with `jax.ShapeDtypeStruct`s of one example in place of arrays. Dictionaries
      and tuples are what they were; other trees are dictionaries of their parts.
    about: What else is said of the data, as JSON: class names, units, means and deviations of the training data.
  """

  arrays: dict[str, Any]
  about: dict[str, Any]

  def as_json(self) -> dict[str, Any]:
    """The description as JSON, as a run keeps it in `data.json`."""
    return {"arrays": {key: _written(entry) for key, entry in self.arrays.items()}, "about": self.about}


def describe(data: Any, about: Mapping[str, Any] | None = None) -> Description:
  """The description of a data set.

  Args:
    data: The data set, `{key: (N, ...)}`, entries may be trees of arrays; or whatever else `as_source` and `fit` take.
      What the library itself has added to them, such as a teacher's predictions, is left out.
    about: What else is said of the data: anything that JSON holds, and numpy's arrays and numbers.

  Returns:
    The description, just as it is read again from a run.

  Raises:
    UserError: `about` holds what JSON does not.

  >>> import numpy as np
  >>> described = describe({"x": np.zeros((8, 3), np.float32)}, {"mean": np.ones(3), "unit": "m"})
  >>> described.arrays["x"].shape, described.about
  ((3,), {'mean': [1.0, 1.0, 1.0], 'unit': 'm'})
  """
  try:
    text = json.dumps(dict(about or {}), default=_plain, allow_nan=False)
  except (TypeError, ValueError, RecursionError) as error:
    raise UserError(f"about holds what JSON does not ({error}): say it in numbers, words, lists and dicts.") from error
  entries = {key: entry for key, entry in spec_of(data).items() if not is_own(key)}
  return read(Description(entries, json.loads(text)).as_json())


def read(stored: Any) -> Description:
  """The description that a JSON value holds.

  Raises:
    UserError: It holds none.

  >>> read({"arrays": {"x": {"shape": [3], "dtype": "float32"}}, "about": {}}).arrays
  {'x': ShapeDtypeStruct(shape=(3,), dtype=float32)}
  """
  if not isinstance(stored, dict) or stored.keys() != {"arrays", "about"}:
    raise UserError("expected an object of arrays and about")
  for part in ("arrays", "about"):
    if not isinstance(stored[part], dict):
      raise UserError(f"{part} is {stored[part]!r}, expected an object")
  return Description({key: _read(key, entry) for key, entry in stored["arrays"].items()}, stored["about"])


def differences(old: Description, new: Description) -> list[str]:
  """What is another in two descriptions, in words.

  Numbers in `about` may differ in their last digits: another machine rounds the mean of the same data differently.

  >>> import numpy as np
  >>> differences(describe({"x": np.zeros((8, 3))}), describe({"x": np.zeros((5, 4))}))
  ["'x' was float64[3], is float64[4]"]
  """
  before, now = _facts(old), _facts(new)
  names = [name for name in (before | now) if not _same(before.get(name), now.get(name))]
  return [f"{name!r} was {before.get(name, 'missing')}, is {now.get(name, 'missing')}" for name in names]


def _facts(description: Description) -> dict[str, Any]:
  kinds = {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves_of(description.arrays).items()}
  return kinds | {path: value for path, value in leaves_of({"about": description.about}).items()}


def _same(one: Any, other: Any) -> bool:
  if isinstance(one, float) and isinstance(other, float):
    return math.isclose(one, other, rel_tol=1e-6)
  return one == other


def _plain(value: Any) -> Any:
  if hasattr(value, "tolist"):
    return value.tolist()
  raise TypeError(f"an object of type {type(value).__name__}")


def _written(node: Any) -> Any:
  """A tree of shapes as JSON: a tuple as a list, all other nodes as objects of their parts."""
  if node is None:
    return None
  if isinstance(node, jax.ShapeDtypeStruct):
    return {"shape": list(node.shape), "dtype": node.dtype.name}
  if type(node) is tuple:
    return [_written(part) for part in node]
  parts, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda part: part is not node)
  return {jax.tree_util.keystr(key, simple=True): _written(part) for key, part in parts}


def _read(path: str, node: Any) -> Any:
  if node is None:
    return None
  if isinstance(node, list):
    return tuple(_read(f"{path}/{place}", part) for place, part in enumerate(node))
  if not isinstance(node, dict):
    raise UserError(f"{path!r} is {node!r}, expected an object with shape and dtype")
  shape, name = node.get("shape"), node.get("dtype")
  if not isinstance(name, str):  # a part of that name would be an object
    return {key: _read(f"{path}/{key}", part) for key, part in node.items()}
  if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
    raise UserError(f"the shape of {path!r} is {shape!r}, expected a list of sizes")
  try:
    dtype = jnp.dtype(name)
  except TypeError:
    dtype = None
  if dtype is None or not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
    raise UserError(f"the dtype of {path!r} is {name!r}, expected one of numbers")
  return jax.ShapeDtypeStruct(tuple(shape), dtype)
