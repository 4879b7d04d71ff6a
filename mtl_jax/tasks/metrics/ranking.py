"""Metrics of scores that rank examples. Their states keep every score, since no state of fixed size is exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.tasks.metrics._arrays import as_array, as_weights, columns
from mtl_jax.tasks.metrics.metric import Metric, concatenated


def roc_auc(score: Callable[[Any], Any] = lambda prediction: prediction) -> Metric:
  r"""The exact area under the ROC curve of a binary label, or its mean over the labels of a vector.

  $$ AUC = \sum_{i \in +, j \in -} w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / \sum_{i \in +, j \in -} w_i w_j $$

  Labels with one class only are left out of the mean, NaN when none is left. NaN scores give NaN.

  Args:
    score: `score(prediction) -> (B,)`, or (B, ...), shaped like the labels, which are 0 and 1.

  Returns:
    The metric.
  """

  def one(s, is_positive, weight):
    (area, _) = _areas(s, is_positive, weight, np.zeros(len(s), np.int32))
    return area[0]

  return _of_columns(score, one)


def average_precision(score: Callable[[Any], Any] = lambda prediction: prediction) -> Metric:
  r"""The mean precision at the scores of the positives, for rare ones; its mean over the labels of a vector.

  $$ AP = \sum_{i \in +} w_i P(s_i) / \sum_{i \in +} w_i, \qquad P(s) = \sum_{i \in +, s_i \ge s} w_i /
  \sum_{i, s_i \ge s} w_i $$

  Labels without positives are left out of the mean, NaN when none is left. NaN scores give NaN.

  Args:
    score: As in `roc_auc`.

  Returns:
    The metric.

  >>> metric = average_precision()
  >>> state = metric.update(jnp.array([0.9, 0.8, 0.7]), jnp.array([1, 0, 1]), jnp.ones(3))
  >>> round(float(metric.compute(state)), 4)  # the mean of 1 / 1 and 2 / 3
  0.8333
  """

  def one(s, is_positive, weight):
    positive, negative, _ = _runs(-s, is_positive, weight, np.zeros(len(s), np.int32))
    above, of_them = np.cumsum(positive + negative), np.cumsum(positive)
    return (positive * of_them / above).sum() / of_them[-1] if of_them[-1] > 0 else np.nan

  return _of_columns(score, one)


def group_auc(group: str, score: Callable[[Any], Any] = lambda prediction: prediction) -> Metric:
  r"""The area under the ROC curve within groups, such as the impressions of each user.

  $$ GAUC = \sum_g W_g \, AUC_g \big/ \sum_g W_g, \qquad W_g = \sum_{i \in g} w_i $$

  over the groups that have examples of both classes, NaN without such a group. NaN scores give NaN.

  Args:
    group: The key of the batch entry that numbers the group of each example, integers (B,).
    score: `score(prediction) -> (B,)`; the labels are 0 and 1.

  Returns:
    The metric.

  Raises:
    UserError: When it is evaluated: groups or labels are not (B,), or groups no integers.

  >>> metric = group_auc("user")
  >>> state = metric.update(jnp.array([1.0, 2.0, 3.0]), jnp.array([0, 1, 0]), jnp.ones(3), jnp.array([7, 7, 8]))
  >>> float(metric.compute(state))  # user 8 has one class
  1.0

  References:
    Zhu et al., *Optimized Cost per Click in Taobao Display Advertising*, KDD 2017.
  """

  def update(prediction, label, mask, groups):
    s, label, groups = score(prediction), as_array(label), jnp.asarray(groups)
    if not s.shape == label.shape == groups.shape or label.ndim != 1 or not jnp.issubdtype(groups.dtype, jnp.integer):
      raise UserError(
        f"group_auc of {group!r}: scores are {s.shape}, labels {label.shape} and groups {groups.dtype} {groups.shape}, "
        "expected one of each per example, (B,), and groups as integers."
      )
    return s.astype(jnp.float32), label.astype(jnp.int32) == 1, as_weights(mask), groups

  def compute(state):
    s, is_positive, weight, groups = (np.asarray(a)[np.asarray(state[2]) > 0] for a in state)
    if np.isnan(s).any():
      return np.nan
    area, weights = _areas(s, is_positive, weight, groups)
    there = ~np.isnan(area)
    return np.average(area[there], weights=weights[there]) if there.any() else np.nan

  return Metric(update, compute, concatenated, beside=(group,))


def _of_columns(score: Callable[[Any], Any], one: Callable[..., Any]) -> Metric:
  """The mean over labels of `one(scores, is_positive, weights)`, of the examples of positive weight, but for NaN."""

  def update(prediction, label, mask):
    s, label, weight = map(columns, (score(prediction), as_array(label), as_weights(mask)))
    return s.astype(jnp.float32), label.astype(jnp.int32) == 1, weight

  def compute(state):
    s, is_positive, weight = map(np.asarray, state)
    weight = np.broadcast_to(weight, s.shape)
    if np.isnan(s[weight > 0]).any():
      return np.nan
    found = [one(*(a[:, k][weight[:, k] > 0] for a in (s, is_positive, weight))) for k in range(s.shape[1])]
    there = [value for value in found if not np.isnan(value)]
    return np.mean(there) if there else np.nan

  return Metric(update, compute, concatenated)


def _runs(
  s: np.ndarray, is_positive: np.ndarray, weight: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The weights of positives and negatives of each score of each group, ascending, and the groups numbered from 0."""
  order = np.lexsort((s, group))
  s, group, is_positive, weight = (a[order] for a in (s, group, is_positive, weight.astype(np.float64)))
  new_group = _changes(group)
  run = np.cumsum(new_group | _changes(s))
  positive, negative = (np.bincount(run, weight * chosen, minlength=1) for chosen in (is_positive, ~is_positive))
  of_run = np.zeros(len(positive), np.int64)
  of_run[run] = np.cumsum(new_group)
  return positive, negative, of_run


def _changes(values: np.ndarray) -> np.ndarray:
  """Whether each value is another than the one before."""
  found = np.zeros(len(values), bool)
  found[1:] = values[1:] != values[:-1]
  return found


def _areas(
  s: np.ndarray, is_positive: np.ndarray, weight: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """The area under the ROC curve of each group, NaN where it has one class, and its weight."""
  positive, negative, of_run = _runs(s, is_positive, weight, group)
  positives, negatives = np.bincount(of_run, positive), np.bincount(of_run, negative)
  before = np.cumsum(negatives) - negatives  # the negatives of the groups before
  below = np.cumsum(negative) - negative - before[of_run]
  won = np.bincount(of_run, positive * (below + negative / 2))
  pairs = positives * negatives
  return np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan), positives + negatives
