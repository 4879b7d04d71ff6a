"""Metrics of decisions, from how often they are right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.axes import behind
from mtl_jax.tasks.metrics._arrays import as_array, as_weights, columns, ratio
from mtl_jax.tasks.metrics.metric import Metric, State


def _confusion(decide: Callable[[Any], Any], classes: int | None) -> Callable[..., State]:
  """True positives, false positives and false negatives, (C,) each; the weight of each label, (C,), or of all, (1,)."""

  def update(prediction, label, mask):
    decision, weight = decide(prediction), as_weights(mask)
    label = as_array(label).astype(decision.dtype)
    if classes is None:
      decision, label, weight = map(columns, (decision, label, weight))
    else:  # one indicator per class, an entry after the other
      weight = jnp.reshape(jnp.broadcast_to(behind(weight, label.ndim), label.shape), (-1, 1))
      decision, label = (jax.nn.one_hot(jnp.ravel(a), classes, dtype=jnp.int32) for a in (decision, label))
    is_true, is_decided = (label == 1).astype(jnp.float32), (decision == 1).astype(jnp.float32)
    return (
      jnp.sum(weight * is_true * is_decided, axis=0),
      jnp.sum(weight * (1.0 - is_true) * is_decided, axis=0),
      jnp.sum(weight * is_true * (1.0 - is_decided), axis=0),
      jnp.sum(weight, axis=0),
    )

  return update


def mean_iou(decide: Callable[[Any], Any], classes: int) -> Metric:
  """The mean over classes of TP / (TP + FP + FN), the intersection of decided and labelled pixels over their union.

  Args:
    decide: `decide(prediction) -> (B, ...)`, classes, shaped like the labels.
    classes: The number of classes.

  Returns:
    The metric; a class that is neither labelled nor decided is left out of the mean. NaN where no label counts.

  >>> metric = mean_iou(lambda logits: jnp.argmax(logits, axis=-1), classes=3)
  >>> float(metric.compute(metric.update(jnp.eye(3)[:2], jnp.array([0, 0]), jnp.ones(2))))  # 1 / 2, 0 / 1, and none
  0.25
  """

  def compute(state):
    tp, fp, fn, _ = state
    return jnp.nanmean(ratio(tp, tp + fp + fn))

  return Metric(_confusion(decide, classes), compute)


def _macro(decide: Callable[[Any], Any], classes: int | None, value: Callable[..., tuple[Any, Any]]) -> Metric:
  """The mean over classes of the ratio `value(tp, fp, fn)`, 0 where its denominator is; without labels of no weight."""

  def compute(state):
    *counts, weight = state
    return jnp.nanmean(jnp.where(weight > 0, ratio(*value(*counts), 0.0), jnp.nan))

  return Metric(_confusion(decide, classes), compute)


def precision(decide: Callable[[Any], Any], classes: int | None = None) -> Metric:
  """TP / (TP + FP), averaged over classes or labels (macro); 0 where nothing was decided positive.

  Args:
    decide: `decide(prediction) -> (B,)`, or (B, ...), shaped like the labels: classes, or 0 and 1.
    classes: The number of classes; None: labels are 0 and 1.

  Returns:
    The metric; labels that no weight counts are left out of the mean.
  """
  return _macro(decide, classes, lambda tp, fp, fn: (tp, tp + fp))


def recall(decide: Callable[[Any], Any], classes: int | None = None) -> Metric:
  """TP / (TP + FN), averaged over classes or labels (macro); 0 where nothing is positive.

  Args:
    decide: As in `precision`.
    classes: As in `precision`.

  Returns:
    The metric, as that of `precision`.
  """
  return _macro(decide, classes, lambda tp, fp, fn: (tp, tp + fn))


def f1(decide: Callable[[Any], Any], classes: int | None = None) -> Metric:
  """2 TP / (2 TP + FP + FN), averaged over classes or labels (macro); 0 where a class never occurs.

  Args:
    decide: As in `precision`.
    classes: As in `precision`.

  Returns:
    The metric, as that of `precision`.

  >>> metric = f1(lambda logits: jnp.argmax(logits, axis=-1), classes=3)
  >>> state = metric.update(jnp.eye(3), jnp.array([0, 1, 1]), jnp.ones(3))
  >>> round(float(metric.compute(state)), 4)  # the mean of 1, 2 / 3 and 0
  0.5556
  """
  return _macro(decide, classes, lambda tp, fp, fn: (2 * tp, 2 * tp + fp + fn))
