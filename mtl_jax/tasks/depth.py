"""Depth: a distance for every pixel."""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _drawing, _labels, _weights
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task


def depth(
  label: str,
  missing: float = 0.0,
  *,
  mask: str | None = None,
  weight: str | None = None,
  mean: float = 0.0,
  std: float = 1.0,
) -> Task:
  r"""A distance for every pixel, by the absolute error.

  $$ \ell = |\hat y - (y - mean) / std| $$

  The task's loss is the mean over all pixels of the batch whose depth is known, weighted by the product of mask and
  weight.

  Args:
    label: The key of the labels in the batch, (B, H, W), above 0 in any unit, or `missing`; predictions are (B, H, W)
      or (B, H, W, 1).
    missing: The label of pixels whose depth is not known; may be NaN.
    mask: The key of a mask in [0, 1], (B,) or (B, H, W); None: all are labelled but for `missing`. Masked labels may
      hold NaN.
    weight: The key of any weights at least 0, (B,) or (B, H, W); None: ones. Loss and metrics alike use them.
    mean: The labels' mean, in their unit.
    std: The labels' standard deviation. The network predicts $(y - mean) / std$; metrics and outputs are in the labels'
      own unit.

  Returns:
    The task, with the metrics abs_error (main), rel_error $|\hat y - y| / y$, and rmse, each over the labelled pixels
    of all images together.

  Raises:
    UserError: An option is out of range.

  >>> task = depth("metres")
  >>> batch = {"metres": jnp.array([[[2.0, 0.0]]])}
  >>> task.loss(jnp.array([[[1.5, 9.0]]]), batch)[0, 0, 0].item(), task.mask(batch).tolist()
  (0.5, [[[1.0, 0.0]]])

  References:
    Eigen, Puhrsch, Fergus, *Depth Map Prediction from a Single Image using a Multi-Scale Deep Network*, 2014.
  """
  if not (0 < std < math.inf and math.isfinite(mean)):
    raise UserError(f"depth of {label!r}: mean is {mean} and std {std}, expected finite numbers and std above 0.")
  label_of = functools.partial(_labels.read, key=label, kind="label")

  def there(y):
    return y == y if math.isnan(missing) else y != missing

  weights_of = _weights.weights_of(label, mask, weight, there)

  def values(prediction):
    return prediction[..., 0] if prediction.ndim == 4 and prediction.shape[-1] == 1 else prediction

  def in_units(prediction):
    return values(prediction) * std + mean

  def loss(prediction, batch):
    y = label_of(batch)
    if y.ndim != 3 or values(prediction).shape != y.shape:
      raise UserError(
        f"the prediction for label {label!r} has shape {prediction.shape}, expected {y.shape} or {(*y.shape, 1)}: a "
        "value at each pixel of a map (B, H, W)."
      )
    y = _weights.where_labelled(y, weights_of and weights_of(batch)).astype(prediction.dtype)
    return jnp.abs(values(prediction) - (y - mean) / std)

  def check(name, arrays):
    y, counted = _labels.labels_of(name, arrays, label, mask, weight, (None, None), there)
    wrong = counted & ~((y > 0) & (y < math.inf))
    if wrong.any():
      raise UserError(
        f"task {name!r}: label {label!r} holds {y[wrong][0]} in example {first_example(wrong)}, expected depth "
        f"above 0 and finite, and {missing} where it is not known."
      )
    _labels.check_any(name, label, counted)

  def errors(prediction, y):
    return jnp.abs(in_units(prediction) - jnp.asarray(y).astype(prediction.dtype))

  def relative(prediction, y):
    return errors(prediction, y) / jnp.asarray(y).astype(prediction.dtype)

  def record(outputs):
    value = np.asarray(outputs["depth"], np.float64)
    return {name: round(float(of(value)), 4) for name, of in (("min", np.min), ("median", np.median), ("max", np.max))}

  return Task(
    loss=loss,
    mask=weights_of,
    metrics={
      "abs_error": _metrics.mean(errors, higher_is_better=False),
      "rel_error": _metrics.mean(relative, higher_is_better=False),
      "rmse": _metrics.mean(lambda p, y: jnp.square(errors(p, y)), higher_is_better=False, final=jnp.sqrt),
    },
    label=label_of,
    output=lambda prediction: {"depth": in_units(prediction)},
    check=check,
    checked=(label,),
    draw=lambda axes, outputs: _drawing.over(axes, outputs["depth"], cmap="viridis"),
    record=record,
  )
