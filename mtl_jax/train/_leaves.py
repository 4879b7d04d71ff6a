"""Trees of arrays as flat mappings by names that tell every path apart, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError


def named_leaves(tree: Any, place: str = "") -> dict[str, Any]:
  """The leaves by their paths, `{"a": {"b": x}}` as `{"a.b": x}`; PRNG keys as their data.

  Args:
    tree: The tree.
    place: The path of the tree in a larger one.

  Returns:
    The leaves.

  >>> list(named_leaves({"a": [jnp.zeros(1), jnp.zeros(1)], "a.0": jnp.zeros(1)}))
  ['a.0', 'a.1', 'a%2E0']
  """
  return {_name(path, place): _data(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: tuple[Any, ...], place: str) -> str:
  """The keys of a path joined by dots, with those in the keys escaped, so that no two paths have one name."""
  keys = (jax.tree_util.keystr((key,), simple=True) for key in path)
  return ".".join([*filter(None, [place]), *(key.replace("%", "%25").replace(".", "%2E") for key in keys)])


def below(name: str, places: Iterable[str]) -> bool:
  """Whether a leaf of that name is part of the tree at one of those places.

  >>> below("a.b.c", ["a.b"]), below("a.bc", ["a.b"])
  (True, False)
  """
  return any(f"{name}.".startswith(f"{place}.") for place in places)


def kinds(leaves: dict[str, Any]) -> dict[str, str]:
  """Their dtypes and shapes."""
  return {name: f"{jnp.dtype(leaf.dtype)}{list(leaf.shape)}" for name, leaf in leaves.items()}


def check_kinds(what: str, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
  """Raises a `UserError` where stored leaves are others than a model has."""
  different = sorted(k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k))
  if different:
    name = different[0]
    raise UserError(
      f"{what} is of another model: {name!r} is {found.get(name, 'missing')}, expected "
      f"{expected.get(name, 'nothing of that name')} (and {len(different) - 1} more differences)."
    )


def of_kind(kind: str) -> jax.ShapeDtypeStruct:
  """The shape that `kinds` tells of.

  >>> of_kind("float32[2, 3]").shape
  (2, 3)
  """
  dtype, _, shape = kind.rstrip("]").partition("[")
  return jax.ShapeDtypeStruct(tuple(int(size) for size in shape.split(",") if size.strip()), jnp.dtype(dtype))


def path_of(name: str) -> str:
  """The path of a leaf of that name, as `by_path` writes it.

  >>> path_of("task.a%2Eb.kernel")
  'task/a.b/kernel'
  """
  return "/".join(key.replace("%2E", ".").replace("%25", "%") for key in name.split("."))


def tree_of(leaves: dict[str, Any], template: Any, place: str = "") -> Any:
  """The tree like `template` that has these leaves, which are named as `named_leaves` does."""

  def leaf_of(path, leaf):
    value = leaves[_name(path, place)]
    return jax.random.wrap_key_data(value, impl=_impl_of(leaf)) if _is_key(leaf) else value

  return jax.tree_util.tree_map_with_path(leaf_of, template)


def _is_key(leaf: Any) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _impl_of(key: Any) -> Any:
  """How a key, or the shape of one, makes random numbers."""
  found: list[Any] = []
  jax.eval_shape(lambda traced: found.append(jax.random.key_impl(traced)), key)
  return found[0]


def _data(leaf: Any) -> Any:
  if not _is_key(leaf):
    return leaf
  if isinstance(leaf, jax.Array):
    return jax.random.key_data(leaf)
  shape = jax.eval_shape(jax.random.key_data, leaf)
  return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=leaf.sharding)
