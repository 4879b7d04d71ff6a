"""How well numbers follow their labels: Pearson's and Spearman's correlation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mtl_jax.tasks.metrics.collected import collected
from mtl_jax.tasks.metrics.metric import Metric


def pearson(value: Callable[[Any], Any] = lambda prediction: prediction) -> Metric:
  r"""Pearson's correlation of numbers with their labels: whether they lie on a line that rises.

  $$ \frac{\sum_i w_i (s_i - \bar s)(y_i - \bar y)}
     {\sqrt{\sum_i w_i (s_i - \bar s)^2 \sum_i w_i (y_i - \bar y)^2}} $$

  Args:
    value: `value(prediction) -> (B,)`, s.

  Returns:
    The metric, in [-1, 1]; NaN where all labels, or all numbers, are equal. Sums are in float64, over the whole data
    set.

  >>> metric = pearson()
  >>> state = metric.update(np.float32([1, 2, 3]), np.float32([2, 4, 6]), np.ones(3))
  >>> round(metric.compute(state), 6)
  1.0
  """
  return collected(_correlation, score=value)


def spearman(value: Callable[[Any], Any] = lambda prediction: prediction) -> Metric:
  r"""Spearman's correlation of numbers with their labels: whether they are in the same order.

  It is Pearson's of their ranks, the mean rank where several are equal.

  Args:
    value: `value(prediction) -> (B,)`.

  Returns:
    The metric, in [-1, 1]; NaN where all labels, or all numbers, are equal. Examples weigh in the correlation of ranks,
    and not in the ranks themselves.

  >>> metric = spearman()
  >>> state = metric.update(np.float32([1, 2, 9]), np.float32([0.1, 0.2, 0.3]), np.ones(3))
  >>> round(metric.compute(state), 6)
  1.0
  """

  def of_ranks(scores: Any, labels: Any, weights: np.ndarray) -> float:
    from scipy.stats import rankdata

    return _correlation(rankdata(scores), rankdata(labels), weights)

  return collected(of_ranks, score=value)


def _correlation(scores: Any, labels: Any, weights: np.ndarray) -> float:
  s, y, w = (np.asarray(values, np.float64) for values in (scores, labels, weights))
  s, y = (values - np.average(values, weights=w) for values in (s, y))
  size = np.sqrt(np.sum(w * s * s) * np.sum(w * y * y))
  return float(np.sum(w * s * y) / size) if size > 0 else np.nan
