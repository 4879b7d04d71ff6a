"""Rows in parts, to train, tune and test on, and in folds: at random, by class, by group or by time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax._core.checks import check_numbers
from mtl_jax._core.errors import UserError, reason


def parts(
  count: int,
  shares: Sequence[float] = (0.8, 0.1, 0.1),
  *,
  seed: int = 0,
  stratify: Any = None,
  groups: Any = None,
  order: Any = None,
  largest_first: bool = False,
) -> tuple[np.ndarray, ...]:
  """Disjoint parts of a data set, such as those to train, tune and test on.

  Rows are drawn at random unless one of `stratify`, `groups` and `order` says otherwise. A scaffold split of molecules
  is `parts(count, groups=scaffolds, largest_first=True)`.

  Args:
    count: The number N of rows.
    shares: The share of each part, above 0; what they leave of 1 is in no part.
    seed: Draws the parts.
    stratify: (N,) classes. Each part has every class in the proportion that the data have it, to within two rows.
    groups: (N,) groups, such as patients. None is in two parts. They are taken in random order, each by the part that
      lacks most rows, so shares are as close as the sizes of the groups allow.
    order: (N,) times. The oldest rows are the first part, the newest the last; equal times keep the order of the rows.
    largest_first: Take the largest groups first, each by the first part that has room for it, and else by the last.
      So the test data are made of small groups, unlike what was trained on. This draws nothing.

  Returns:
    For each share the numbers of its rows, ascending.

  Raises:
    UserError: Shares that are not above 0 or sum to more than 1; a part that would be empty; a class with fewer rows
      than there are parts; more than one of `stratify`, `groups` and `order`.

  >>> [len(part) for part in parts(100)]
  [80, 10, 10]
  >>> [part.tolist() for part in parts(5, (0.6, 0.4), order=[2020, 2024, 2021, 2023, 2022])]
  [[0, 2, 4], [1, 3]]

  References:
    Wu et al., *MoleculeNet: A Benchmark for Molecular Machine Learning*, 2018, for `largest_first`.
  """
  check_numbers({"seed": seed})
  sizes = _sizes(count, shares)
  how, values, key = _key(count, stratify=stratify, groups=groups, order=order)
  if largest_first and how != "groups":
    raise UserError("parts: largest_first is of groups, and there are none: give groups, or leave it out.")
  rng = np.random.default_rng(seed)
  if how == "groups":
    place = _of_groups(key, sizes, None if largest_first else rng)
  elif how == "order":
    place = np.empty(count, int)
    place[np.argsort(key, kind="stable")] = np.repeat(np.arange(len(sizes)), sizes)
  else:
    if how:
      _check_classes(values, key, len(shares))
    place = np.empty(count, int)
    place[np.lexsort((rng.permutation(count), key))] = _dealt(sizes)
  found = tuple(np.flatnonzero(place == part) for part in range(len(shares)))
  for number, rows in enumerate(found):
    if not len(rows):
      raise UserError(
        f"parts: part {number}, a share of {shares[number]:.3g} of {count} rows, would be empty: give it a larger share"
        + (", or smaller groups." if how == "groups" else ", or more rows.")
      )
  return found


def folds(
  count: int, k: int, *, seed: int = 0, stratify: Any = None, groups: Any = None, order: Any = None
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Pairs of rows to train and to test on, for cross-validation: each row is tested on once.

  Args:
    count: The number N of rows.
    k: The number of folds, at least 2.
    seed: Draws the folds.
    stratify: As in `parts`.
    groups: As in `parts`.
    order: (N,) times. They are cut into k + 1 stretches; each fold tests on the next one after all that it trains on,
      so the oldest stretch is never tested on.

  Returns:
    k pairs `(train, test)` of the rows' numbers, ascending.

  Raises:
    UserError: More folds than rows, or than groups; and as in `parts`.

  >>> [(len(train), len(test)) for train, test in folds(10, 5)]
  [(8, 2), (8, 2), (8, 2), (8, 2), (8, 2)]
  >>> [rows.tolist() for rows in folds(4, 3, order=[1, 2, 3, 4])[1]]
  [[0, 1], [2]]
  """
  how, values, _ = _key(count, stratify=stratify, groups=groups, order=order)
  units, what = (len(values), "groups") if how == "groups" else (count, "rows")
  needed = k + (how == "order")
  if not 2 <= k or units < needed:
    raise UserError(f"folds: k is {k} with {units} {what}, expected at least 2 folds, and {needed} {what} for so many.")
  cut = parts(count, [1 / needed] * needed, seed=seed, stratify=stratify, groups=groups, order=order)
  if how == "order":
    return [(np.sort(np.concatenate(cut[:i])), cut[i]) for i in range(1, needed)]
  return [(np.setdiff1d(np.arange(count), test), test) for test in cut]


def _sizes(count: int, shares: Sequence[float]) -> np.ndarray:
  """The rows of each part, and of the rest that is in none."""
  total = sum(shares)
  if not (len(shares) and all(share > 0 for share in shares) and total < 1 + 1e-9):
    told = ", ".join(f"{share:g}" for share in shares) or "none"
    raise UserError(f"parts: shares are {told}, expected above 0 and a sum of at most 1: they sum to {total:g}.")
  ends = np.round(np.minimum(np.cumsum(shares), 1) * count).astype(int)
  sizes = np.diff(ends, prepend=0, append=count)
  return sizes if sizes[-1] else sizes[:-1]


def _key(count: int, **given: Any) -> tuple[str, np.ndarray, np.ndarray]:
  """Which column is given, its values, and for each row the number of its value; without one all have the same."""
  named = {name: np.asarray(values) for name, values in given.items() if values is not None}
  if len(named) > 1:
    raise UserError(f"parts: {' and '.join(named)} are given, expected at most one of {', '.join(given)}.")
  for name, values in named.items():
    if values.shape != (count,):
      raise UserError(f"parts: {name} has shape {values.shape}, expected ({count},), a value for each row.")
    missing = int((values != values).sum())  # NaN, and no time
    if missing:
      raise UserError(f"parts: {name} is missing (NaN) in {missing} rows, expected a value for each row.")
    try:
      return name, *np.unique(values, return_inverse=True)
    except TypeError as error:
      raise UserError(f"parts: {name} holds values of several types, expected one: {reason(error)}.") from error
  return "", np.zeros(1), np.zeros(count, int)


def _check_classes(classes: np.ndarray, key: np.ndarray, parts: int) -> None:
  for label, size in zip(classes.tolist(), np.bincount(key).tolist(), strict=True):
    if size < parts:
      raise UserError(
        f"parts: class {label!r} of stratify has {size} rows, expected one for each of {parts} parts: join classes."
      )


def _dealt(sizes: np.ndarray) -> np.ndarray:
  """The parts' numbers, so mixed that each stretch of them has about its share of every part."""
  even = np.concatenate([(np.arange(size) + 0.5) / max(size, 1) for size in sizes])
  return np.repeat(np.arange(len(sizes)), sizes)[np.argsort(even, kind="stable")]


def _of_groups(groups: np.ndarray, sizes: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
  """The part of each row: groups in random order to the part that lacks most, or the largest first (see `parts`)."""
  _, first, counts = np.unique(groups, return_index=True, return_counts=True)
  ends, held, part_of = np.cumsum(sizes), np.zeros_like(sizes), np.empty(len(counts), int)
  # Among groups of one size the paper's code takes that which appears last.
  for group in np.lexsort((first, counts))[::-1] if rng is None else rng.permutation(len(counts)):
    if rng is None:
      room = np.append(np.cumsum(held)[:-1] + counts[group] <= ends[:-1], True)
      part = int(room.argmax())
    else:
      part = int((sizes - held).argmax())
    held[part] += counts[group]
    part_of[group] = part
  return part_of[groups]
