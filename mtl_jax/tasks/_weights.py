"""How much each example, or each entry of its label, counts: masks and weights of a batch."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError
from mtl_jax.tasks._labels import fitting, read


def weights_of(
  label: str, mask: str | None, weight: str | None, there: Callable[[Any], Any] | None = None
) -> Callable[[Mapping[str, Any]], Any] | None:
  """The `mask` of a task: the product of the batch entries `mask` and `weight`; None where there is neither.

  Args:
    label: The key of the labels.
    mask: The key of their mask, or None.
    weight: The key of their weights, or None.
    there: `there(labels) -> booleans` tells by a label's value whether it is one. Their shape is that of the weights.

  Returns:
    `weights(batch)`, (B,) or one per entry.
  """
  keys = {kind: key for kind, key in (("mask", mask), ("weight", weight)) if key is not None}
  if not keys and there is None:
    return None

  def weights(batch):
    y = read(batch, label, "label")
    own = [] if there is None else [jnp.asarray(there(y)).astype(jnp.float32)]
    shape = own[0].shape if own else y.shape
    found = own + [_read(batch, label, kind, key, shape) for kind, key in keys.items()]
    axes = max(one.ndim for one in found)
    return functools.reduce(operator.mul, (behind(one, axes) for one in found))

  return weights


def other_than(ignore: int) -> Callable[[Any], Any]:
  """For `there`: whether a label is not the one that stands for none.

  >>> other_than(-1)(np.asarray([255, 0], np.uint8)).tolist()
  [True, True]
  """
  # Integers of 8 bits are widened, else -1 would be 255.
  return lambda y: (y.astype(np.int32) if jnp.issubdtype(y.dtype, jnp.integer) else y) != ignore


def _read(batch: Mapping[str, Any], label: str, kind: str, key: str, shape: tuple[int, ...]) -> Any:
  found = read(batch, key, kind)
  if found.shape not in (shape[:1], shape):
    raise UserError(f"{kind} {key!r} of label {label!r} has shape {found.shape}, expected {fitting(shape)}.")
  return found.astype(jnp.float32)


def where_labelled(value: Any, weights: Any) -> Any:
  """`value` with 0 for labels of weight 0, which may hold NaN or -1; weights None: all count."""
  if weights is None:
    return value
  value = jnp.asarray(value)
  return jnp.where(behind(weights, value.ndim) > 0, value, jnp.zeros((), value.dtype))


def as_weighted(values: Any, weights: Any) -> Any:
  """Values per entry averaged over the axes that weights lack; weights None: one value per example."""
  axes = tuple(range(1 if weights is None else weights.ndim, values.ndim))
  return jnp.mean(values, axis=axes) if axes else values
