"""What ready-made tasks share: reading labels of a batch, and checking labels and weights before training starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.held import check_held, first_example


def read(batch: Mapping[str, Any], key: str, kind: str) -> Any:
  """`batch[key]`, or one clear line when it is missing."""
  if key not in batch:
    known = ", ".join(map(repr, batch))
    raise UserError(f"the batch has no {kind} {key!r}, only {known}{nearest(key, batch)}.")
  return batch[key]


Path = str | tuple[str, ...]
"""Of an entry of a batch: a key, or the keys that lead to it, such as `("x", "segments")`."""


def at(batch: Mapping[str, Any], path: Path, kind: str) -> Any:
  """The entry of a batch at a path, or one clear line when it is missing.

  >>> at({"x": {"segments": 1}}, ("x", "segments"), "segments")
  1
  """
  keys = (path,) if isinstance(path, str) else path
  found = read(batch, keys[0], kind)
  for i, key in enumerate(keys[1:], start=1):
    if not isinstance(found, Mapping) or key not in found:
      where = "/".join(keys[:i])
      known = f"only {', '.join(map(repr, found))}" if isinstance(found, Mapping) else "which is one array"
      raise UserError(f"the batch has no {kind} {'/'.join(keys)!r}: {where!r} has no entry {key!r}, {known}.")
    found = found[key]
  return found


class Labels(NamedTuple):
  """The labels of a data set, (N, ...), and which of them count, booleans of the same shape, or of that of `there`."""

  values: np.ndarray
  counted: np.ndarray


def labels_of(
  name: str,
  arrays: Mapping[str, Any],
  label: str,
  mask: str | None,
  weight: str | None,
  entries: tuple[int | None, ...] = (),
  there: Callable[[Any], Any] | None = None,
) -> Labels:
  """The labels of a data set, after the checks that all kinds of labels share.

  Args:
    name: The task, for messages.
    arrays: The whole data set, `{key: (N, ...)}`.
    label: The key of the labels.
    mask: The key of their mask, or None.
    weight: The key of their weights, or None.
    entries: The shape of the label of one example, None for a side of any length.
    there: As in `weights_of`.

  Returns:
    The labels.

  Raises:
    UserError: A key is missing, sizes differ, weights are negative or not finite, labels are NaN, or JAX would change
      them.
  """
  for kind, key in (("label", label), ("mask", mask), ("weight", weight)):
    if key is not None and key not in arrays:
      known = ", ".join(map(repr, arrays))
      raise UserError(f"task {name!r}: the data has no {kind} {key!r}, only {known}{nearest(key, arrays)}.")
  values = np.asarray(arrays[label])
  fits = [want in (None, found) for want, found in zip(entries, values.shape[1:], strict=False)]
  if values.ndim != 1 + len(entries) or (None in entries and not all(fits)):
    names = "L" if len(entries) == 1 else "HW"
    sides = ", ".join(str(want or names[i]) for i, want in enumerate(entries))
    shape = f"(N, {sides})" if entries else "(N,)"
    raise UserError(
      f"task {name!r}: label {label!r} has shape {values.shape}, expected {shape}{_advice(values, entries)}."
    )
  if not all(fits):
    raise UserError(f"task {name!r}: label {label!r} has {values.shape[1]} columns, expected {entries[0]}.")
  check_held(f"task {name!r}: label {label!r}", values, False)  # numbers at all: which of them count is not yet known
  counted = np.ones((), bool) if there is None else np.asarray(there(values))
  shape = counted.shape or values.shape
  for kind, key in (("mask", mask), ("weight", weight)):
    if key is not None:
      given = _weights(f"task {name!r}: {kind} {key!r}", np.asarray(arrays[key]), shape, is_mask=kind == "mask")
      counted = counted & (given > 0).reshape(given.shape + (1,) * (len(shape) - given.ndim))
  counted = np.broadcast_to(counted, shape)
  of_values = counted.reshape(shape + (1,) * (values.ndim - len(shape)))
  check_held(f"task {name!r}: label {label!r}", values, of_values)
  missing = of_values & (np.isnan(values) if jnp.issubdtype(values.dtype, jnp.inexact) else False)
  if missing.any():
    raise UserError(
      f"task {name!r}: label {label!r} has {np.count_nonzero(missing)} NaN values, the first in example "
      f"{first_example(missing)}: set mask= to the key of an array that is 0 where the label is missing."
    )
  return Labels(values, counted)


def check_integers(name: str, label: str, values: np.ndarray) -> None:
  """Refuses labels that are no integers."""
  if not np.issubdtype(values.dtype, np.integer):
    raise UserError(f"task {name!r}: label {label!r} has dtype {values.dtype}, expected integers: labels.astype(int).")


def check_range(name: str, label: str, values: np.ndarray, counted: np.ndarray, end: int, expected: str) -> None:
  """Refuses labels that count and are not in [0, end); `expected` says in words what they should be."""
  wrong = counted & ((values < 0) | (values >= end))
  if wrong.any():
    raise UserError(
      f"task {name!r}: label {label!r} holds {values[wrong][0]} in example {first_example(wrong)}, expected {expected}."
    )


def check_any(name: str, label: str, counted: np.ndarray) -> None:
  """Refuses labels of which none counts."""
  if not counted.any():
    raise UserError(f"task {name!r}: label {label!r} is missing everywhere: leave the task out, or look at its mask.")


def _advice(values: np.ndarray, entries: tuple[int | None, ...]) -> str:
  """What to do about labels of another number of axes, where it is known."""
  if entries:
    return ""
  return ": take its one column, [:, 0]" if values.shape[1:] == (1,) else ""


def _weights(what: str, given: np.ndarray, shape: tuple[int, ...], *, is_mask: bool) -> np.ndarray:
  if given.shape not in (shape[:1], shape):
    raise UserError(f"{what} has shape {given.shape}, expected {fitting(shape)}.")
  if not any(jnp.issubdtype(given.dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating)):
    raise UserError(f"{what} has dtype {given.dtype}, expected real numbers.")
  wrong = ~((given >= 0) & ((given <= 1) if is_mask else np.isfinite(given)))
  if wrong.any():
    first = f"first {given[wrong][0]} in example {first_example(wrong)}"
    if is_mask:
      raise UserError(f"{what} has values outside [0, 1], {first}: pass other weights as weight=.")
    raise UserError(f"{what} has values that are negative, NaN or infinite, {first}: expected at least 0.")
  return given


def fitting(shape: tuple[int, ...]) -> str:
  """The shapes that weights of a label may have, in words.

  >>> fitting((6, 3))
  '(6,), one per example, or (6, 3), one per entry'
  """
  return f"{shape[:1]}, one per example" + (f", or {shape}, one per entry" if len(shape) > 1 else "")


def segments_of(name: str, arrays: Mapping[str, Any], path: Path, label: str, shape: tuple[int, ...]) -> np.ndarray:
  """The numbers of the sentences of each row, after the check that there is one at each position.

  Raises:
    UserError: They are missing, no integers, or not shaped like the label.
  """
  found = np.asarray(at(arrays, path, f"segments of task {name!r}"))
  told = path if isinstance(path, str) else "/".join(path)
  if found.shape != shape or not np.issubdtype(found.dtype, np.integer):
    raise UserError(
      f"task {name!r}: segments {told!r} are {found.dtype} {found.shape}, expected integers {shape} as label {label!r}."
    )
  return found
