"""`join`, one data set of several that label the same examples in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.arrays import as_arrays, check_lengths, leaves_of


def join(sets: Mapping[str, Mapping[str, Any]], on: str) -> dict[str, Any]:
  """One data set with every example of several, which know examples by a key that they have in common.

  Args:
    sets: `{name: {key: (N, ...)}}`, data sets in memory of different lengths.
    on: The entry that tells examples apart, (N,), each value once per data set.

  Returns:
    All entries but `on`, one row per example in order of first appearance. Rows that no data set has are NaN, or 0
    where the dtype has no NaN. For each data set there is `has_<name>`, (N,) float32, 1 where it has the example: the
    `mask=` of the tasks that it labels.

  Raises:
    UserError: No data sets; a data set without the key, with a value of it twice, or with an entry that the masks
      need; or an entry that two data sets have with other dtypes, shapes or values.

  >>> depth = {"id": [3, 1], "x": [0.3, 0.1], "depth": [3.0, 1.0]}
  >>> found = join({"depth": depth, "kind": {"id": [1, 2], "x": [0.1, 0.2], "kind": [1, 2]}}, on="id")
  >>> found["x"], found["depth"], found["kind"], found["has_kind"]
  (array([0.3, 0.1, 0.2]), array([ 3.,  1., nan]), array([0, 1, 2]), array([0., 1., 1.], dtype=float32))
  """
  if not sets:
    raise UserError("join got no data set, expected {name: arrays}.")
  read = {name: _read(name, arrays, on) for name, arrays in sets.items()}
  ids, first, inverse = np.unique(
    np.concatenate([arrays[on] for arrays in read.values()]), return_index=True, return_inverse=True
  )
  order = np.argsort(first)
  rank = np.empty_like(order)
  rank[order] = np.arange(len(ids))
  ends = np.cumsum([len(arrays[on]) for arrays in read.values()])
  places = dict(zip(read, np.split(rank[inverse], ends[:-1]), strict=True))

  joined: dict[str, Any] = {}
  owner: dict[str, str] = {}
  known: dict[str, np.ndarray] = {}
  for name, arrays in read.items():
    rows = places[name]
    for key, entry in arrays.items():
      if key == on:
        continue
      if key in joined:
        _check_same(key, owner[key], joined[key], name, entry, rows, known[key], ids[order])
      else:
        joined[key], owner[key] = jax.tree.map(lambda leaf: _unknown(len(ids), leaf), entry), name
        known[key] = np.zeros(len(ids), bool)
      for whole, part in zip(jax.tree.leaves(joined[key]), jax.tree.leaves(entry), strict=True):
        whole[rows] = part
      known[key][rows] = True
  for name, rows in places.items():
    mask = f"has_{name}"
    if mask in joined:
      raise UserError(f"join: data set {owner[mask]!r} has an entry {mask!r}, which is to be a mask: rename it.")
    joined[mask] = np.zeros(len(ids), np.float32)
    joined[mask][rows] = 1
  return joined


def _read(name: str, arrays: Mapping[str, Any], on: str) -> dict[str, Any]:
  read = as_arrays(arrays)
  if on not in read:
    raise UserError(f"join: data set {name!r} has no {on!r}, only {', '.join(map(repr, read))}.")
  try:
    check_lengths(read)
  except UserError as error:
    raise UserError(f"join: data set {name!r}: {error}") from error
  values, counts = np.unique(read[on], return_counts=True)
  if read[on].ndim != 1 or (counts > 1).any():
    found = f"{on} {values[np.argmax(counts)]!r} {counts.max()} times" if read[on].ndim == 1 else "ids of several axes"
    raise UserError(f"join: data set {name!r} has {found}, expected each example once.")
  return read


def _unknown(size: int, leaf: np.ndarray) -> np.ndarray:
  return np.full((size, *leaf.shape[1:]), np.nan if leaf.dtype.kind in "fc" else 0, leaf.dtype)


def _check_same(
  key: str, one: str, joined: Any, other: str, entry: Any, rows: np.ndarray, known: np.ndarray, ids: np.ndarray
) -> None:
  """Raises a `UserError` where two data sets have another entry of the same key."""
  before, after = leaves_of({key: joined}), leaves_of({key: entry})
  if before.keys() != after.keys():
    raise UserError(f"join: {key!r} has other parts in {one!r} than in {other!r}: make them the same.")
  both = known[rows]
  for path, leaf in after.items():
    kinds = [f"{part.dtype}{list(part.shape[1:])}" for part in (before[path], leaf)]
    if kinds[0] != kinds[1]:
      raise UserError(f"join: {path!r} is {kinds[0]} in {one!r} and {kinds[1]} in {other!r}: make them the same.")
    old, new = before[path][rows[both]], leaf[both]
    differ = (old != new) & ~((old != old) & (new != new))
    wrong = np.flatnonzero(differ.any(axis=tuple(range(1, differ.ndim))))
    if wrong.size:
      told = ids[rows[both][wrong[0]]]
      raise UserError(
        f"join: {path!r} of the example {told!s} is another in {other!r} than before, first of {wrong.size} examples: "
        "examples that data sets share must agree."
      )
