"""Ready-made metrics: a state of each batch, merged and computed once.

Each is a function that returns a `Metric`, for `mtl.Task(metrics={name: metric})`.

- `accuracy`, `precision`, `recall`, `f1`: of decisions.
- `roc_auc`: of scores of a binary label.
- `r2`: the share of the variance that is explained.
- `mean`: the mean of any value per example.
- `collected`: any function of the whole data set, in numpy.
- `Metric`: their type, and how they are called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError
from mtl_jax.tasks._collected import collected
from mtl_jax.tasks._metric import Metric, State, concatenated
from mtl_jax.tasks._weights import as_weighted

__all__ = ["Metric", "accuracy", "collected", "f1", "mean", "precision", "r2", "recall", "roc_auc"]


def _ratio(numerator: Any, denominator: Any, empty: float = jnp.nan) -> jax.Array:
  return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1.0), empty)


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
    weight, values = _weights(mask), jnp.asarray(value(prediction, label))
    if values.shape[: weight.ndim] != weight.shape:
      raise UserError(
        f"a metric has values of shape {values.shape}, but weights of shape {weight.shape}: it needs a value for each."
      )
    # where, not only *: a masked example may hold NaN.
    return jnp.sum(jnp.where(weight > 0, as_weighted(values, weight), 0.0) * weight), jnp.sum(weight)

  return Metric(update, lambda state: final(_ratio(*state)), higher_is_better=higher_is_better)


def _weights(mask: Any) -> jax.Array:
  return jnp.asarray(mask).astype(jnp.float32)


def _array(label: Any) -> jax.Array:
  """The label as one array, or one clear line where it is a dictionary, such as the whole batch."""
  if isinstance(label, Mapping):
    found = ", ".join(map(repr, label))
    raise UserError(
      f"a metric got a dictionary of {found} for a label, expected one array: tell the task which entry its metrics "
      "read, for example label=lambda batch: batch['y']."
    )
  return jnp.asarray(label)


def _columns(array: Any) -> Any:
  """Labels, scores or weights as (B, K), a column per entry of an example; (B,) as one column."""
  return jnp.reshape(array, (jnp.shape(array)[0], -1))


def accuracy(decide: Callable[[Any], Any]) -> Metric:
  """The share of examples whose decision equals the label; for label vectors the mean over their entries.

  Args:
    decide: `decide(prediction) -> (B,)`, or (B, ...), shaped like the labels.

  Returns:
    The metric, NaN where no example counts.
  """

  def correct(prediction, label):
    decision = decide(prediction)
    return (decision == _array(label).astype(decision.dtype)).astype(jnp.float32)

  return mean(correct, higher_is_better=True)


def _confusion(decide: Callable[[Any], Any], classes: int | None) -> Callable[..., State]:
  """True positives, false positives and false negatives, (C,) each; the weight of each label, (C,), or of all, (1,)."""

  def update(prediction, label, mask):
    decision, weight = decide(prediction), _weights(mask)
    label = _array(label).astype(decision.dtype)
    if classes is None:
      decision, label, weight = map(_columns, (decision, label, weight))
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


def _macro(decide: Callable[[Any], Any], classes: int | None, value: Callable[..., tuple[Any, Any]]) -> Metric:
  """The mean over classes of the ratio `value(tp, fp, fn)`, 0 where its denominator is; without labels of no weight."""

  def compute(state):
    *counts, weight = state
    return jnp.nanmean(jnp.where(weight > 0, _ratio(*value(*counts), 0.0), jnp.nan))

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


def roc_auc(score: Callable[[Any], Any] = lambda prediction: prediction) -> Metric:
  r"""The exact area under the ROC curve of a binary label, or its mean over the labels of a vector.

  $$ AUC = \sum_{i \in +, j \in -} w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / \sum_{i \in +, j \in -} w_i w_j $$

  The state keeps every score, since no state of fixed size is exact. Labels with one class only are left
  out of the mean, NaN when none is left. NaN scores give NaN.

  Args:
    score: `score(prediction) -> (B,)`, or (B, ...), shaped like the labels, which are 0 and 1.

  Returns:
    The metric.
  """

  def update(prediction, label, mask):
    s, label, weight = map(_columns, (score(prediction), _array(label), _weights(mask)))
    return s.astype(jnp.float32), label.astype(jnp.int32) == 1, weight

  def one(s, is_positive, weight):
    order = jnp.argsort(s)
    s, positive = s[order], jnp.where(is_positive, weight, 0.0)[order]
    negative = weight[order] - positive
    # Weights of the negatives below each place, in whole numbers where the mask holds 0 and 1: no rounding.
    below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(negative)])
    beaten = below[jnp.searchsorted(s, s, side="left")] + below[jnp.searchsorted(s, s, side="right")]
    return _ratio(jnp.sum(positive * 0.5 * _ratio(beaten, below[-1])), jnp.sum(positive))

  def compute(state):
    s, is_positive, weight = map(jnp.asarray, state)  # evaluation reads states as numpy, which vmap cannot index
    weight = jnp.broadcast_to(weight, s.shape)
    is_broken = jnp.any(jnp.isnan(s) & (weight > 0))
    return jnp.where(is_broken, jnp.nan, jnp.nanmean(jax.vmap(one, in_axes=1)(s, is_positive, weight)))

  return Metric(update, compute, concatenated)


def r2() -> Metric:
  r"""The coefficient of determination, averaged over outputs.

  $$ R^2 = 1 - \sum_i w_i (y_i - \hat y_i)^2 \big/ \sum_i w_i (y_i - \bar y)^2 $$

  The state holds the labels' mean as a sum of two floats and the centred sum of squares, merged by Chan's formula: no
  cancellation for labels far from zero. NaN for constant labels; outputs of no weight are left out.
  """

  def update(prediction, label, mask):
    weight, label = _columns(_weights(mask)), _columns(_array(label)).astype(jnp.float32)
    prediction = jnp.reshape(prediction, label.shape).astype(jnp.float32)
    label, prediction = (jnp.where(weight > 0, a, 0.0) for a in (label, prediction))
    count = jnp.sum(weight, axis=0)  # (1,), or of each output

    def average(a):
      return _ratio(jnp.sum(weight * a, axis=0, keepdims=True), count[None], 0.0)

    centre = average(label)
    rest = average(label - centre)
    spread = jnp.sum(weight * jnp.square(label - centre - rest), axis=0)
    return count, (centre[0], rest[0]), spread, jnp.sum(weight * jnp.square(label - prediction), axis=0)

  def add(a, b):
    (count_a, (centre_a, rest_a), spread_a, residual_a), (count_b, (centre_b, rest_b), spread_b, residual_b) = a, b
    step = jnp.where(count_a > 0, (centre_b - centre_a) + (rest_b - rest_a), 0.0)
    start, rest = jnp.where(count_a > 0, centre_a, centre_b), jnp.where(count_a > 0, rest_a, rest_b)
    share = _ratio(count_b, count_a + count_b, 0.0)
    move = rest + step * share
    centre = start + move
    spread = spread_a + spread_b + jnp.square(step) * count_a * share
    return count_a + count_b, (centre, move - (centre - start)), spread, residual_a + residual_b

  def compute(state):
    count, (centre, _), spread, residual = state
    # Of constant labels only rounding is left, about eps ** 2 of their square per example.
    eps = float(jnp.finfo(jnp.float32).eps)
    varies = spread > eps**3 * jnp.square(centre)
    values = jnp.where(varies, 1.0 - _ratio(residual, spread, 0.0), jnp.nan)
    counts = jnp.broadcast_to(count > 0, values.shape)
    return jnp.mean(values, where=counts)

  return Metric(update, compute, lambda states: functools.reduce(add, states))
