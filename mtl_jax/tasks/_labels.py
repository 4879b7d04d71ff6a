"""What ready-made tasks share: reading labels and masks of a batch, and checking them before training starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax._errors import UserError, nearest


def read(batch: Mapping[str, Any], key: str, kind: str) -> Any:
  """`batch[key]`, or one clear line when it is missing."""
  if key not in batch:
    known = ", ".join(map(repr, batch))
    raise UserError(f"the batch has no {kind} {key!r}, only {known}{nearest(key, batch)}.")
  return batch[key]


def mask_of(label: str, mask: str | None) -> Callable[[Mapping[str, Any]], Any]:
  """The mask function of a task: the batch entry `mask`, or ones."""

  def weights(batch):
    examples = read(batch, label, "label").shape[:1]
    if mask is None:
      return jnp.ones(examples, jnp.float32)
    found = read(batch, mask, "mask")
    if found.shape != examples:
      raise UserError(f"mask {mask!r} of label {label!r} has shape {found.shape}, expected {examples}, one an example.")
    return found.astype(jnp.float32)

  return weights


def where_labelled(value: Any, mask: Any) -> Any:
  """`value` with 0 for the labels of masked examples, which may hold NaN or -1."""
  value = jnp.asarray(value)
  return jnp.where(jnp.reshape(mask > 0, (-1,) + (1,) * (value.ndim - 1)), value, jnp.zeros((), value.dtype))


def labelled(name: str, arrays: Mapping[str, np.ndarray], label: str, mask: str | None, shape: str) -> np.ndarray:
  """The labels of the examples that have one, after the checks that all label kinds share.

  Args:
    name: The task, for messages.
    arrays: The whole data set, `{key: (N, ...)}`.
    label: The key of the labels.
    mask: The key of their mask, or None.
    shape: The label shape to name in messages, for example `"(N,)"`.

  Returns:
    The labels, (n, ...).

  Raises:
    UserError: A key is missing, or sizes differ.
  """
  for kind, key in (("label", label), ("mask", mask)):
    if key is not None and key not in arrays:
      known = ", ".join(map(repr, arrays))
      raise UserError(f"task {name!r}: the data has no {kind} {key!r}, only {known}{nearest(key, arrays)}.")
  values = np.asarray(arrays[label])
  axes = shape.count(",") + 1 - shape.endswith(",)")
  if values.ndim != axes:
    raise UserError(f"task {name!r}: label {label!r} has shape {values.shape}, expected {shape}.")
  if mask is None:
    return values
  weight = np.asarray(arrays[mask])
  if weight.shape != values.shape[:1]:
    raise UserError(
      f"task {name!r}: mask {mask!r} has shape {weight.shape}, expected ({values.shape[0]},), one value an example."
    )
  outside = weight[~((weight >= 0) & (weight <= 1))]
  if outside.size:
    raise UserError(f"task {name!r}: mask {mask!r} has values outside [0, 1], first {outside[0]}.")
  return values[weight > 0]
