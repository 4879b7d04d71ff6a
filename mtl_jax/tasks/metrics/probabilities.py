"""Metrics of probabilities: whether they are right, and whether they mean what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError, check_choice
from mtl_jax.tasks.metrics._arrays import as_array, as_weights, columns
from mtl_jax.tasks.metrics.means import mean
from mtl_jax.tasks.metrics.metric import Metric, concatenated


def log_loss(logits: Callable[[Any], Any] = lambda prediction: prediction, classes: int | None = None) -> Metric:
  r"""The mean negative log likelihood in nats, $-\log p_y$; for label vectors the mean over their entries.

  Args:
    logits: `logits(prediction)`, shaped like the labels where these are 0 and 1, else (..., classes).
    classes: The number of classes; None: labels are 0 and 1.

  Returns:
    The metric, NaN where no example counts.

  >>> metric = log_loss()
  >>> round(float(metric.compute(metric.update(jnp.zeros(2), jnp.array([0, 1]), jnp.ones(2)))), 4)  # log 2
  0.6931
  """

  def value(prediction, label):
    z, y = logits(prediction), as_array(label)
    if classes is None:
      return optax.sigmoid_binary_cross_entropy(z, y.astype(z.dtype))
    return optax.softmax_cross_entropy_with_integer_labels(z, y.astype(jnp.int32))

  return mean(value, higher_is_better=False)


def calibration_error(
  probability: Callable[[Any], Any] = jax.nn.sigmoid,
  classes: int | None = None,
  *,
  bins: int = 15,
  strategy: str = "uniform",
) -> Metric:
  r"""The expected calibration error, how far probabilities are from the shares of what happens.

  $$ ECE = \sum_k \frac{W_k}{W} \Big| \frac{1}{W_k} \sum_{i \in k} w_i p_i - \frac{1}{W_k} \sum_{i \in k} w_i a_i \Big|
  $$

  over bins k of the probabilities p, with a = 1 where what has probability p came true. Labels that are 0 and 1 are
  judged by the probability of 1, and of a label vector the mean over the labels is taken; classes by that of the most
  likely class.

  Args:
    probability: `probability(prediction)`, shaped like the labels where these are 0 and 1, else (..., classes).
    classes: The number of classes; None: labels are 0 and 1.
    bins: The number of bins, at least 1.
    strategy: `"uniform"`: bins of equal width in [0, 1]; `"quantile"`: of equal weight, whose state keeps every
      probability.

  Returns:
    The metric, NaN where no example counts.

  Raises:
    UserError: `bins` below 1, or an unknown strategy.

  >>> metric = calibration_error()
  >>> float(metric.compute(metric.update(jnp.zeros(4), jnp.array([0, 1, 1, 1]), jnp.ones(4))))  # one half against 3 / 4
  0.25

  References:
    Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017.
  """
  if bins < 1:
    raise UserError(f"calibration_error: bins is {bins}, expected at least 1.")
  check_choice("calibration_error", "strategy", strategy, ("uniform", "quantile"))

  def read(prediction, label, mask):
    p, y, weight = probability(prediction), as_array(label), as_weights(mask)
    if classes is None:
      p, came, weight = map(columns, (p, y.astype(jnp.int32) == 1, weight))
    else:
      came = jnp.argmax(p, axis=-1) == y
      p, came, weight = (jnp.reshape(a, (-1, 1)) for a in (p.max(axis=-1), came, _like(weight, y)))
    return p.astype(jnp.float32), came, jnp.broadcast_to(weight, p.shape)

  def update(prediction, label, mask):
    p, came, weight = read(prediction, label, mask)
    # A probability of 1 is in the last bin. What is NaN stays so where it counts.
    place = jax.nn.one_hot(jnp.clip((p * bins).astype(jnp.int32), 0, bins - 1), bins, dtype=jnp.float32)
    of = [weight, weight * jnp.where(weight > 0, p, 0.0), weight * came.astype(jnp.float32)]
    return [jnp.einsum("bk,bkn->kn", value, place) for value in of]

  if strategy == "uniform":
    return Metric(update, lambda state: _error(*(np.asarray(a, np.float64) for a in state)), higher_is_better=False)

  def compute(state):
    p, came, weight = (np.asarray(a, np.float64).T for a in state)
    sums = [_by_quantile(*column, bins) for column in zip(p, came, weight, strict=True)]
    return _error(*(np.stack(of_each) for of_each in zip(*sums, strict=True)))

  return Metric(read, compute, concatenated, higher_is_better=False)


def _like(weight: jax.Array, label: jax.Array) -> jax.Array:
  return jnp.broadcast_to(behind(weight, label.ndim), label.shape)


def _error(weight: np.ndarray, p: np.ndarray, came: np.ndarray) -> float:
  """The error from sums over bins, (K, bins) each; the mean over columns that have any weight."""
  total = weight.sum(axis=1)
  errors = np.abs(p - came).sum(axis=1)[total > 0] / total[total > 0]
  return float(errors.mean()) if errors.size else np.nan


def _by_quantile(p: np.ndarray, came: np.ndarray, weight: np.ndarray, bins: int) -> list[np.ndarray]:
  """The sums over bins of equal weight; equal probabilities share a bin."""
  p, came, weight = (a[weight > 0] for a in (p, came, weight))
  order = np.argsort(p)
  below = np.cumsum(weight[order])
  total = below[-1] if below.size else 0.0
  edges = p[order][np.searchsorted(below, total * np.arange(1, bins) / bins * (1 - 1e-12))] if below.size else []
  place = np.searchsorted(edges, p)
  return [np.bincount(place, value, minlength=bins) for value in (weight, weight * p, weight * came)]
