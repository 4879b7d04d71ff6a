"""Regression of one or several real values."""

from __future__ import annotations

import functools
import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError, nearest
from mtl_jax.tasks import _labels, _weights, calibration, imitation
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task

_LOSSES = {
  "squared": lambda prediction, y, delta: optax.squared_error(prediction, y),
  "half_squared": lambda prediction, y, delta: optax.l2_loss(prediction, y),
  "absolute": lambda prediction, y, delta: jnp.abs(prediction - y),
  "huber": lambda prediction, y, delta: optax.huber_loss(prediction, y, delta=delta),
}


def regression(
  label: str,
  *,
  mask: str | None = None,
  weight: str | None = None,
  loss: Literal["squared", "half_squared", "absolute", "huber"] = "squared",
  delta: float = 1.0,
  size: int | None = None,
  mean: float = 0.0,
  std: float = 1.0,
) -> Task:
  r"""Real values by the squared, absolute or Huber error, averaged over the values of an example.

  The task's loss is $\sum_b w_b \ell_b / \sum_b w_b$ over the batch, with w the product of mask and weight; over all
  values of the batch where they are given per value.

  Args:
    label: The key of the labels in the batch, (B,), or (B, size).
    mask: The key of the labels' mask in [0, 1], (B,), or (B, size) where single values are missing; None: all are
      labelled. Masked labels may hold NaN.
    weight: The key of any weights at least 0, (B,) or (B, size); None: ones. Loss and metrics alike use them.
    loss: `"squared"` $(\hat y - y)^2$, `"half_squared"` half of it, `"absolute"` $|\hat y - y|$, or `"huber"`,
      half squared within `delta` and linear beyond.
    delta: Where `"huber"` turns linear.
    size: The number of values per example; None: one, and predictions may be (B,) or (B, 1).
    mean: The labels' mean, in their unit.
    std: The labels' standard deviation. The network predicts and the loss compares $(y - mean) / std$; metrics and
      outputs are in the labels' own unit.

  Returns:
    The task, with the metrics r2 (main), mae and rmse.

  Raises:
    UserError: An unknown loss, or an option out of range.

  >>> regression("size").loss(jnp.array([1.0, 2.0]), {"size": jnp.array([1.0, 4.0])}).tolist()
  [0.0, 4.0]
  """
  if loss not in _LOSSES:
    raise UserError(f"unknown loss {loss!r}{nearest(loss, _LOSSES)}: choose from {', '.join(_LOSSES)}.")
  if not (delta > 0 and std > 0):
    raise UserError(f"regression of {label!r}: delta is {delta} and std {std}, expected both above 0.")
  if not (math.isfinite(mean) and math.isfinite(std)):
    raise UserError(f"regression of {label!r}: mean is {mean} and std {std}, expected finite numbers.")
  entries = () if size is None else (size,)
  label_of = functools.partial(_labels.read, key=label, kind="label")
  weights_of = _weights.weights_of(label, mask, weight)

  def values(prediction):
    return prediction[:, 0] if size is None and prediction.shape[1:] == (1,) else prediction

  def in_units(prediction):
    return values(prediction) * std + mean

  def loss_fn(prediction, batch):
    y = label_of(batch)
    expected = (*y.shape[:1], *entries)
    for what, found in ((f"label {label!r}", y.shape), (f"the prediction for {label!r}", values(prediction).shape)):
      if found != expected:
        raise UserError(f"{what} has shape {found}, expected {expected}.")
    weights = weights_of and weights_of(batch)
    y = (_weights.where_labelled(y, weights).astype(prediction.dtype) - mean) / std
    return _weights.as_weighted(_LOSSES[loss](values(prediction), y, delta), weights)

  def check(name, arrays):
    y, counted = _labels.labels_of(name, arrays, label, mask, weight, entries)
    if not np.issubdtype(y.dtype, np.floating) and not np.issubdtype(y.dtype, np.integer):
      raise UserError(f"task {name!r}: label {label!r} has dtype {y.dtype}, expected real numbers.")
    wrong = ~np.isfinite(y) & counted
    if wrong.any():
      raise UserError(
        f"task {name!r}: label {label!r} has {int(wrong.sum())} infinite values: clip them, or mark them in mask=."
      )

  def squared(prediction, y):
    return jnp.square(in_units(prediction) - jnp.asarray(y).astype(prediction.dtype))

  scale_free = _metrics.r2()
  metrics = {
    "r2": scale_free._replace(update=lambda p, y, m: scale_free.update(in_units(p), y, m)),
    "mae": _metrics.mean_absolute_error(in_units),
    "rmse": _metrics.mean(squared, higher_is_better=False, final=jnp.sqrt),
  }
  return Task(
    loss=loss_fn,
    mask=weights_of,
    metrics=metrics,
    label=label_of,
    output=lambda prediction: {"value": in_units(prediction)},
    check=check,
    checked=(label,),
    calibration=calibration.conformal(in_units) if size is None else None,
    imitation=imitation.of_values(values, mean, std, size),
  )
