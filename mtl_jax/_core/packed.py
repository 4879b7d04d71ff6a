"""`Packed`, a dictionary whose values of equal shapes lie in one tree of arrays: what T tasks have each, as few arrays.

A program with one array per task and parameter takes the longer to compile, and each of its calls the longer to begin,
the more tasks there are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

FROM = 16
"""As many equal entries are packed: fewer gain little."""
_INPUTS = 32
"""Arrays that are stacked at once outside of a program."""


class _Layout:
  """Which names lie where; one object for each, so that programs are found by it without looking at the names."""

  def __init__(self, groups: tuple[tuple[str, ...], ...], order: tuple[str, ...], axis: int):
    self.groups, self.order, self.axis = groups, order, axis
    self.places = {name: (g, i) for g, names in enumerate(groups) for i, name in enumerate(names)}
    self.keys = [jax.tree_util.DictKey(names[0]) for names in groups]

  def __repr__(self) -> str:
    return f"{len(self.order)} entries"


_layout = functools.cache(_Layout)


@jax.tree_util.register_pytree_with_keys_class
class Packed(Mapping[str, Any]):
  """`{name: tree}`, read like a dictionary; a pytree whose leaves hold the entries of several names along one axis.

  Attributes:
    groups: The names that lie in one tree, in its order; a name alone has a tree of its own, without the axis.
    trees: The tree of each group.
    order: All names in the order of the dictionary.
    axis: Where the entries of a group lie in its arrays: 0 for parameters, 1 in batches, behind the examples.
  """

  def __init__(self, groups: Sequence[tuple[str, ...]], trees: Sequence[Any], order: Sequence[str], axis: int = 0):
    self._layout, self.trees = _layout(tuple(groups), tuple(order), axis), tuple(trees)

  @property
  def groups(self) -> tuple[tuple[str, ...], ...]:
    return self._layout.groups

  @property
  def order(self) -> tuple[str, ...]:
    return self._layout.order

  @property
  def axis(self) -> int:
    return self._layout.axis

  def __getitem__(self, name: str) -> Any:
    group, place = self._layout.places[name]
    if not self.groups[group][1:]:
      return self.trees[group]
    return entry(self.trees[group], place, self.axis)

  def __iter__(self) -> Iterator[str]:
    return iter(self.order)

  def __len__(self) -> int:
    return len(self.order)

  def __repr__(self) -> str:
    return f"Packed({', '.join(self.order)})"

  def like(self, trees: Sequence[Any]) -> Packed:
    """The same names with other trees."""
    return self.tree_unflatten(self._layout, trees)

  def like_entries(self, entries: Mapping[str, Any]) -> Packed:
    """The same names and groups, from the entry of each name."""
    alone = [[entries[name] for name in names] for names in self.groups]
    return self.like([stack(several, self.axis) if several[1:] else several[0] for several in alone])

  def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], Any]:
    """The trees, each under the first of its names."""
    return list(zip(self._layout.keys, self.trees, strict=True)), self._layout

  def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
    """The trees."""
    return self.trees, self._layout

  @classmethod
  def tree_unflatten(cls, layout: Any, trees: Sequence[Any]) -> Packed:
    """The dictionary with these trees."""
    made = cls.__new__(cls)
    made._layout, made.trees = layout, tuple(trees)
    return made


def entry(tree: Any, place: int, axis: int = 0) -> Any:
  """The entry of a stacked tree at a place of its axis.

  >>> entry({"w": jnp.arange(3)}, 1)
  {'w': Array(1, dtype=int32)}
  """

  def one(leaf: Any) -> Any:
    if isinstance(leaf, jax.core.Tracer):
      return jax.lax.index_in_dim(leaf, place, axis, keepdims=False)
    if isinstance(leaf, jax.Array):  # one program for all places
      return jax.lax.dynamic_index_in_dim(leaf, place, axis, keepdims=False)
    if isinstance(leaf, jax.ShapeDtypeStruct):
      return jax.ShapeDtypeStruct((*leaf.shape[:axis], *leaf.shape[axis + 1 :]), leaf.dtype)
    return leaf[(slice(None),) * axis + (place,)]

  return jax.tree.map(one, tree)


def stack(trees: Sequence[Any], axis: int = 0) -> Any:
  """Trees as one, their leaves along a new axis; numpy arrays stay numpy arrays."""

  def one(*leaves: Any) -> Any:
    if all(isinstance(leaf, np.ndarray) for leaf in leaves):
      return np.stack(leaves, axis)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
      return jnp.stack(leaves, axis)
    # Outside of a program: one of hundreds of inputs takes seconds to compile, one of some of them is used again.
    parts = [jnp.stack(leaves[i : i + _INPUTS], axis) for i in range(0, len(leaves), _INPUTS)]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis)

  return jax.tree.map(one, *trees)


def groups_of(entries: Mapping[str, Any], fewest: int = FROM) -> list[tuple[str, ...]]:
  """The names whose entries are trees of equal shapes, in groups of at least so many; all others alone.

  >>> groups_of({"a": np.zeros(2), "b": np.ones(2), "c": np.zeros(3)}, fewest=2)
  [('a', 'b'), ('c',)]
  """
  kinds: dict[Any, list[str]] = {}
  for name, entry in entries.items():
    leaves, structure = jax.tree.flatten(entry)
    kinds.setdefault((structure, *((jnp.shape(leaf), str(leaf.dtype)) for leaf in leaves)), []).append(name)
  parts = ([tuple(names)] if len(names) >= fewest else [(name,) for name in names] for names in kinds.values())
  return [group for part in parts for group in part]


def packed(entries: Mapping[str, Any], groups: Sequence[tuple[str, ...]], axis: int = 0) -> Any:
  """The dictionary with the entries of each group in one tree; as it is where no group has two names.

  >>> both = packed({"b": np.zeros(2), "a": np.ones(2)}, [("b", "a")])
  >>> both["a"].tolist(), list(both), [leaf.shape for leaf in jax.tree.leaves(both)]
  ([1.0, 1.0], ['b', 'a'], [(2, 2)])
  """
  if isinstance(entries, Packed) or not any(names[1:] for names in groups):
    return entries
  return Packed(groups, [()] * len(groups), list(entries), axis).like_entries(entries)


def unpacked(tree: Any) -> Any:
  """The tree with plain dictionaries in the place of packed ones."""
  return jax.tree.map(lambda node: dict(node) if is_packed(node) else node, tree, is_leaf=is_packed)


def entries(of: Mapping[str, Any]) -> list[Any]:
  """The values of a dictionary of numbers in its order.

  >>> entries({"a": 1.0, "b": 2.0}), entries(Packed([("a", "b")], [np.array([1.0, 2.0])], ("a", "b")))
  ([1.0, 2.0], [1.0, 2.0])
  """
  if is_packed(of) and of.groups == (of.order,) and of.order[1:]:
    return np.asarray(of.trees[0]).tolist()
  return list(of.values())


def is_packed(node: Any) -> TypeGuard[Packed]:
  """Whether a node of a tree is one."""
  return isinstance(node, Packed)


class Opened:
  """A batch with its entries one by one, which knows what they lie in.

  Attributes:
    entries: The batch; of a packed one a plain dictionary.
  """

  def __init__(self, batch: Any):
    self.entries = dict(batch) if is_packed(batch) else batch
    self._places: dict[int, tuple[Any, int, int]] = {}
    if is_packed(batch):
      for names, tree in zip(batch.groups, batch.trees, strict=True):
        for place, name in enumerate(names if names[1:] else ()):
          both = zip(jax.tree.leaves(self.entries[name]), jax.tree.leaves(tree), strict=True)
          self._places |= {id(leaf): (whole, batch.axis, place) for leaf, whole in both}

  def stack(self, leaves: Sequence[Any]) -> tuple[Any, int]:
    """Some leaves of its entries, or other arrays, in one array, and along which axis: in what they lie in already."""
    places = [self._places[id(leaf)] for leaf in leaves if id(leaf) in self._places]
    if len(places) < len(leaves) or len({id(whole) for whole, _, _ in places}) > 1:
      return stack(leaves), 0
    (whole, axis, _), where = places[0], np.array([place for _, _, place in places])
    in_order = np.array_equal(where, np.arange(whole.shape[axis]))
    return whole if in_order else jnp.take(whole, where, axis=axis), axis


def assembled(like: Any, trees: Mapping[tuple[str, ...], Any]) -> Any:
  """A dictionary like another, packed or not, with other entries: trees of groups and of names alone.

  >>> assembled({"a": 1, "b": 2}, {("b",): 3})
  {'a': 1, 'b': 3}
  """
  if not is_packed(like):
    return {**like, **{names[0]: tree for names, tree in trees.items()}}
  single = {names[0]: tree for names, tree in trees.items() if not names[1:]}

  def of_group(names: tuple[str, ...], own: Any) -> Any:
    if names in trees:
      return trees[names]
    if not single.keys() & set(names):
      return own
    return stack([single[name] if name in single else like[name] for name in names], like.axis)

  return like.like([of_group(names, tree) for names, tree in zip(like.groups, like.trees, strict=True)])
