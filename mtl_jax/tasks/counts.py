"""Counts: how many of something there are."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _labels, _weights
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task

_LOSSES = ("poisson", "log")


def counts(
  label: str,
  *,
  mask: str | None = None,
  weight: str | None = None,
  loss: Literal["poisson", "log"] = "poisson",
  mean: float = 1.0,
) -> Task:
  r"""A number of things, by the likelihood of a Poisson distribution or by the squared error of its logarithm.

  $$ \ell = \lambda - y \log \lambda + \log y!, \quad \lambda = \mu e^{\hat y}, \qquad\text{or}\qquad
     \ell = (\log(1 + \lambda) - \log(1 + y))^2, \quad \lambda = (1 + \mu) e^{\hat y} - 1 $$

  The task's loss is $\sum_b w_b \ell_b / \sum_b w_b$ over the batch, with w the product of mask and weight.

  Args:
    label: The key of the labels in the batch, (B,) whole numbers of at least 0; predictions are $\hat y$, (B,) or
      (B, 1).
    mask: The key of the labels' mask, (B,) in [0, 1]; None: all are labelled. Masked labels may hold any value.
    weight: The key of any weights of the examples, (B,) at least 0; None: ones. Loss and metrics alike use them.
    loss: `"poisson"`, for which errors of large counts weigh as counting them at random would make them err; or
      `"log"`, for which an error of so many per cent weighs the same at every count.
    mean: $\mu$, the labels' mean, which a prediction of 0 stands for.

  Returns:
    The task, with the metrics relative_error (main), the mean of $|\lambda - y| / \max(y, 1)$, mae, and total_error,
    $|\sum \lambda - \sum y| / \sum y$, of all examples together. Outputs are `count` (B,), the $\lambda$, a number with
    decimals.

  Raises:
    UserError: An unknown loss, or a mean that is not above 0.

  >>> task = counts("cells", mean=4.0)
  >>> task.output(jnp.zeros((1, 1)))["count"].tolist(), task.loss(jnp.zeros(1), {"cells": jnp.array([0])}).tolist()
  ([4.0], [4.0])
  """
  check_choice(f"counts of {label!r}", "loss", loss, _LOSSES)
  if not 0 < mean < math.inf:
    raise UserError(f"counts of {label!r}: mean is {mean}, expected above 0.")
  label_of = functools.partial(_labels.read, key=label, kind="label")
  weights_of = _weights.weights_of(label, mask, weight)

  def values(prediction):
    return prediction[:, 0] if prediction.shape[1:] == (1,) else prediction

  def counted(prediction):
    z = values(prediction).astype(jnp.float32)
    return mean * jnp.exp(z) if loss == "poisson" else jnp.maximum((1 + mean) * jnp.exp(z) - 1, 0)

  def loss_fn(prediction, batch):
    y, z = label_of(batch), values(prediction)
    if z.shape != y.shape or y.ndim != 1:
      raise UserError(f"label {label!r} has shape {y.shape} and its prediction {prediction.shape}, expected (B,) both.")
    y = _weights.where_labelled(y, weights_of and weights_of(batch)).astype(jnp.float32)
    z = z.astype(jnp.float32)
    if loss == "log":
      return optax.squared_error(z + math.log1p(mean), jnp.log1p(y))
    return mean * jnp.exp(z) - y * (z + math.log(mean)) + jax.scipy.special.gammaln(y + 1)

  def check(name, arrays):
    y, there = _labels.labels_of(name, arrays, label, mask, weight)
    wrong = there & ((y < 0) | (y != np.floor(y)) | (y == np.inf))
    if wrong.any():
      raise UserError(
        f"task {name!r}: label {label!r} holds {y[wrong][0]} in example {first_example(wrong)}, expected whole numbers "
        "of at least 0: take mtl.tasks.regression for others."
      )

  def relative(prediction: Any, y: Any) -> jax.Array:
    y = jnp.asarray(y).astype(jnp.float32)
    return jnp.abs(counted(prediction) - y) / jnp.maximum(y, 1)

  return Task(
    loss=loss_fn,
    mask=weights_of,
    metrics={
      "relative_error": _metrics.mean(relative, higher_is_better=False),
      "mae": _metrics.mean_absolute_error(counted),
      "total_error": _metrics.total_error(counted),
    },
    label=label_of,
    output=lambda prediction: {"count": counted(prediction)},
    check=check,
    checked=(label,),
    record=lambda outputs: {"count": round(float(outputs["count"]), 2)},
  )
