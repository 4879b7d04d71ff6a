"""Class weights: from how often classes occur, or given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError


def balanced_weights(labels: Any, num_classes: int | None = None) -> list[Any]:
  r"""Weights by which all classes count alike in the loss, for `class_weights=`.

  $$ c_k = N / (C N_k) $$

  Args:
    labels: The labels that are there, integers (N,) in [0, C); or (N, K) of 0 and 1, for `multilabel`, NaN or below 0
      where one is missing.
    num_classes: C; None: the greatest label and one.

  Returns:
    The weights, C numbers, or for each of K labels its pair.

  Raises:
    UserError: A class does not occur, or labels are no such numbers.

  >>> balanced_weights([0, 0, 0, 0, 1])
  [0.625, 2.5]
  """
  labels = np.asarray(labels)
  if labels.ndim == 2:
    return [balanced_weights(column[column >= 0].astype(int), 2) for column in labels.T]
  if labels.ndim != 1 or not labels.size or labels.dtype.kind not in "bui" or labels.min() < 0:
    raise UserError(f"balanced_weights: labels are {labels.dtype} {labels.shape}, expected integers from 0, (N,).")
  counts = np.bincount(labels.astype(np.int64), minlength=num_classes or 0)
  if len(counts) > (num_classes or len(counts)):
    raise UserError(f"balanced_weights: a label is {len(counts) - 1}, expected below num_classes, {num_classes}.")
  if not counts.all():
    raise UserError(f"balanced_weights: class {int(np.argmin(counts))} does not occur: leave it out, or give weights.")
  return (labels.size / (len(counts) * counts)).tolist()


def as_factors(what: str, given: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> np.ndarray:
  """Class weights as an array of one of the shapes.

  Raises:
    UserError: They are no such numbers; it begins with `what`.
  """
  try:
    factors = np.asarray(given, np.float64)
  except (TypeError, ValueError):
    factors = np.empty(())  # ragged, or no numbers
  if factors.shape not in shapes:
    expected = " or ".join(map(str, shapes))
    raise UserError(f"{what}: class_weights are {given!r}, expected numbers of shape {expected}.")
  wrong = factors[~((factors >= 0) & (factors < math.inf))]
  if wrong.size:
    raise UserError(f"{what}: class_weights hold {wrong[0]}, expected at least 0 and finite.")
  return factors
