"""Checks of syntactic trees, before training starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax._core.segments import starts
from mtl_jax.tasks import _labels, _trees


def check(
  name: str,
  arrays: Mapping[str, Any],
  heads: str,
  relations: str,
  num_relations: int,
  segments: _labels.Path | None,
  mask: str | None,
  weight: str | None,
) -> None:
  """Refuses heads outside of their sentence, cycles, relations out of range, and labels that do not fit each other.

  Args:
    name: The task, for messages.
    arrays: The whole data set.
    heads: The key of the heads, (N, L), -1 for none.
    relations: The key of the relations, (N, L).
    num_relations: They are in [0, num_relations).
    segments: The key or path of the sentences' numbers, or None.
    mask: The key of the labels' mask, or None.
    weight: The key of their weights, or None.

  Raises:
    UserError: They cannot be used.
  """
  y, counted = _labels.labels_of(name, arrays, heads, mask, weight, (None,), lambda values: values >= 0)
  kinds, _ = _labels.labels_of(name, arrays, relations, None, None, (None,))
  for key, values in ((heads, y), (relations, kinds)):
    _labels.check_integers(name, key, values)
  if kinds.shape != y.shape:
    raise UserError(
      f"task {name!r}: label {relations!r} has shape {kinds.shape} and {heads!r} {y.shape}, expected one."
    )
  unknown = ~counted & (y < -1)
  if mask is None and weight is None and unknown.any():
    raise UserError(
      f"task {name!r}: label {heads!r} holds {y[unknown][0]} in example {first_example(unknown)}, expected the number "
      "of a word from 1, 0 for the root, and -1 where there is none."
    )
  wrong = counted & ((kinds < 0) | (kinds >= num_relations))
  if wrong.any():
    row, place = np.argwhere(wrong)[0]
    raise UserError(
      f"task {name!r}: label {relations!r} holds {kinds[row, place]} in example {row}, position {place}, expected "
      f"[0, {num_relations - 1}] for the word of head {y[row, place]}."
    )
  number = (
    np.ones(y.shape, np.int32) if segments is None else _labels.segments_of(name, arrays, segments, heads, y.shape)
  )
  outside = counted & (number == 0)
  if outside.any():
    row, place = np.argwhere(outside)[0]
    raise UserError(
      f"task {name!r}: label {heads!r} has a head in example {row}, position {place}, where the segments have no "
      "sentence, expected -1: there are not as many heads as words."
    )
  start = np.asarray(starts(number))
  column = np.where(counted & (y > 0), y + start, 0)
  inside = np.take_along_axis(np.pad(number, ((0, 0), (1, 0))), np.minimum(column, y.shape[1]), axis=1)
  outside = counted & (y > 0) & ((column > y.shape[1]) | (inside != number))
  if outside.any():
    row, place = np.argwhere(outside)[0]
    raise UserError(
      f"task {name!r}: label {heads!r} has head {y[row, place]} in example {row}, position {place}, outside of its "
      f"sentence of {int((start[row] == start[row, place]).sum())} words: heads are numbered from 1 in each sentence."
    )
  if (cycle := _trees.first_cycle(column)) is not None:
    row, place = cycle
    raise UserError(
      f"task {name!r}: label {heads!r} is no tree in example {row}: from the word at position {place} no way along the "
      "heads leads to the root, 0, but round a cycle."
    )
  _labels.check_any(name, heads, counted)
