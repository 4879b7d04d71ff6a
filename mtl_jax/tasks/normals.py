"""Surface normals: a direction for every pixel."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _drawing, _labels, _weights
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task

_WITHIN = {"within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}


def normals(label: str, *, mask: str | None = None, weight: str | None = None) -> Task:
  r"""A direction for every pixel, by its cosine with the true one.

  $$ \ell = 1 - \frac{\hat n \cdot n}{|\hat n| |n|} $$

  The task's loss is the mean over all pixels of the batch that have a normal, weighted by the product of mask and
  weight.

  Args:
    label: The key of the labels in the batch, (B, H, W, 3) vectors of any length, zero where there is none; predictions
      are of the same shape, and of any length, too.
    mask: The key of a mask in [0, 1], (B,) or (B, H, W); None: all are labelled but for zero vectors. Masked labels
      may hold NaN.
    weight: The key of any weights at least 0, (B,) or (B, H, W); None: ones. Loss and metrics alike use them.

  Returns:
    The task, with the metrics mean_angle (main) and median_angle in degrees, and within_11_25, within_22_5 and
    within_30, the shares of pixels whose angle is below 11.25, 22.5 and 30 degrees; over the labelled pixels of all
    images together. The median is that of a histogram of 0.1 degrees. Its output are unit vectors.

  >>> task = normals("direction")
  >>> batch = {"direction": jnp.array([[[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]]])}
  >>> task.loss(jnp.array([[[[2.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]]), batch)[0, 0, 0].item(), task.mask(batch).tolist()
  (1.0, [[[1.0, 0.0]]])

  References:
    Fouhey, Gupta, Hebert, *Data-Driven 3D Primitives for Single Image Understanding*, ICCV 2013, for the metrics.
  """
  label_of = functools.partial(_labels.read, key=label, kind="label")

  def there(y):
    return (y != 0).any(axis=-1)

  weights_of = _weights.weights_of(label, mask, weight, there)

  def loss(prediction, batch):
    y = label_of(batch)
    if y.ndim != 4 or y.shape[-1] != 3 or prediction.shape != y.shape:
      raise UserError(
        f"the prediction for label {label!r} has shape {prediction.shape} and the label {y.shape}, expected a vector "
        "at each pixel of both, (B, H, W, 3)."
      )
    y = _weights.where_labelled(y, weights_of and weights_of(batch)).astype(prediction.dtype)
    return 1 - jnp.sum(_unit(prediction) * _unit(y), axis=-1)

  def check(name, arrays):
    y, counted = _labels.labels_of(name, arrays, label, mask, weight, (None, None, 3), there)
    if not np.issubdtype(y.dtype, np.floating):
      raise UserError(f"task {name!r}: label {label!r} has dtype {y.dtype}, expected floats.")
    wrong = counted & ~np.isfinite(y).all(axis=-1)
    if wrong.any():
      raise UserError(
        f"task {name!r}: label {label!r} has an infinite value in example {first_example(wrong)}: expected "
        "vectors, and zeros where there is none."
      )
    _labels.check_any(name, label, counted)

  within = {
    key: _metrics.mean(lambda p, y, bound=bound: (_degrees(p, y) < bound).astype(jnp.float32), higher_is_better=True)
    for key, bound in _WITHIN.items()
  }

  def record(outputs):
    found = np.asarray(outputs["normal"], np.float64).reshape(-1, 3).mean(axis=0)
    return {"mean": [round(float(value), 4) for value in found]}

  return Task(
    loss=loss,
    mask=weights_of,
    metrics={
      "mean_angle": _metrics.mean(_degrees, higher_is_better=False),
      "median_angle": _metrics.median(_degrees, most=180.0, bins=1800),
      **within,
    },
    label=label_of,
    output=lambda prediction: {"normal": _unit(prediction)},
    check=check,
    checked=(label,),
    draw=lambda axes, outputs: _drawing.over(axes, np.clip((np.asarray(outputs["normal"]) + 1) / 2, 0, 1)),
    record=record,
  )


def _unit(vectors: Any) -> jax.Array:
  """Vectors of length 1; zero stays zero, with a finite derivative."""
  return vectors * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(vectors), axis=-1, keepdims=True), 1e-12))


def _degrees(prediction: Any, y: Any) -> jax.Array:
  """The angle between vectors, in degrees; the arc cosine would lose small ones to rounding."""
  a, b = (_unit(jnp.asarray(vectors).astype(jnp.float32)) for vectors in (prediction, y))
  apart, along = (jnp.linalg.norm(vectors, axis=-1) for vectors in (a - b, a + b))
  return jnp.rad2deg(2 * jnp.atan2(apart, along))
