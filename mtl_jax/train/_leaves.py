"""Trees of arrays as flat mappings by names that tell every path apart, and back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def named_leaves(tree: Any) -> dict[str, Any]:
  """The leaves by their paths, `{"a": {"b": x}}` as `{"a.b": x}`; PRNG keys as their data.

  >>> list(named_leaves({"a": [jnp.zeros(1), jnp.zeros(1)], "a.0": jnp.zeros(1)}))
  ['a.0', 'a.1', 'a%2E0']
  """
  return {_name(path): _data(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: tuple[Any, ...]) -> str:
  """The keys of a path joined by dots, with those in the keys escaped, so that no two paths have one name."""
  keys = (jax.tree_util.keystr((key,), simple=True) for key in path)
  return ".".join(key.replace("%", "%25").replace(".", "%2E") for key in keys)


def kinds(leaves: dict[str, Any]) -> dict[str, str]:
  """Their dtypes and shapes."""
  return {name: f"{jnp.dtype(leaf.dtype)}{list(leaf.shape)}" for name, leaf in leaves.items()}


def tree_of(leaves: dict[str, Any], template: Any) -> Any:
  """The tree like `template` that has these leaves."""

  def leaf_of(path, leaf):
    value = leaves[_name(path)]
    return jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else value

  return jax.tree_util.tree_map_with_path(leaf_of, template)


def tree_without_keys(tree: Any) -> Any:
  """The tree with the data of PRNG keys in their place."""
  return jax.tree.map(_data, tree)


def _is_key(leaf: Any) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
  return jax.random.key_data(leaf) if _is_key(leaf) else leaf
