"""Metrics that are means of a value per example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.tasks._weights import as_weighted
from mtl_jax.tasks.metrics._arrays import as_array, as_weights, ratio
from mtl_jax.tasks.metrics.metric import Metric


def mean(
  value: Callable[[Any, Any], Any], *, higher_is_better: bool, final: Callable[[Any], Any] = lambda x: x
) -> Metric:
  r"""The weighted mean of a value per example or per entry.

  $$ final(\sum_i w_i v_i / \sum_i w_i), \qquad v_i = value(\hat y_i, y_i) $$

  Args:
    value: `value(prediction, label) -> (B,)`, or (B, ...); values per entry are averaged over each example's entries
      where weights are given per example.
    higher_is_better: The direction.
    final: A function of the mean, such as the square root.

  Returns:
    The metric, NaN where no example counts.

  Raises:
    UserError: When it is evaluated: there is not a value for each weight.

  >>> rmse = mean(lambda prediction, label: (prediction - label) ** 2, higher_is_better=False, final=jnp.sqrt)
  >>> state = rmse.update(jnp.array([1.0, 5.0, 9.0]), jnp.array([0.0, 4.0, 0.0]), jnp.array([1, 1, 0]))
  >>> float(rmse.compute(state))
  1.0
  """

  def update(prediction, label, mask):
    weight, values = as_weights(mask), jnp.asarray(value(prediction, label))
    if values.shape[: weight.ndim] != weight.shape:
      raise UserError(
        f"a metric has values of shape {values.shape}, but weights of shape {weight.shape}: it needs a value for each."
      )
    # where, not only *: a masked example may hold NaN.
    return jnp.sum(jnp.where(weight > 0, as_weighted(values, weight), 0.0) * weight), jnp.sum(weight)

  return Metric(update, lambda state: final(ratio(*state)), higher_is_better=higher_is_better)


def accuracy(decide: Callable[[Any], Any]) -> Metric:
  """The share of examples whose decision equals the label; for label vectors the mean over their entries.

  Args:
    decide: `decide(prediction) -> (B,)`, or (B, ...), shaped like the labels.

  Returns:
    The metric, NaN where no example counts.
  """

  def correct(prediction, label):
    decision = decide(prediction)
    return (decision == as_array(label).astype(decision.dtype)).astype(jnp.float32)

  return mean(correct, higher_is_better=True)


def mean_absolute_error(value: Callable[[Any], Any] = lambda prediction: prediction) -> Metric:
  r"""The mean of $|\hat y - y|$; for label vectors over their entries too.

  Args:
    value: `value(prediction) -> (B,)`, or (B, ...), shaped like the labels and in their unit.

  Returns:
    The metric, NaN where no example counts.
  """

  def error(prediction, label):
    found = value(prediction)
    return jnp.abs(found - as_array(label).astype(found.dtype))

  return mean(error, higher_is_better=False)


def total_error(value: Callable[[Any], Any] = lambda prediction: prediction) -> Metric:
  r"""By how much all numbers together are off: $|\sum_i w_i \hat y_i - \sum_i w_i y_i| / \sum_i w_i y_i$.

  Args:
    value: `value(prediction) -> (B,)`, numbers at least 0, in the labels' unit.

  Returns:
    The metric, NaN where the labels that count have no positive sum.

  >>> metric = total_error()
  >>> float(metric.compute(metric.update(jnp.array([1.0, 4.0]), jnp.array([2, 2]), jnp.ones(2))))
  0.25
  """

  def update(prediction, label, mask):
    weight, found = as_weights(mask), value(prediction)
    both = found, as_array(label).astype(found.dtype)
    return tuple(jnp.sum(jnp.where(weight > 0, one, 0.0) * weight) for one in both)

  def compute(state):
    found, right = state
    return ratio(jnp.abs(found - right), right)

  return Metric(update, compute, higher_is_better=False)
