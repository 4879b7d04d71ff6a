"""Classical baselines of scikit-learn, one model per task, on the same examples and with the labels that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

import mtl_jax as mtl

CLASSIFICATION = ("roc_auc", "accuracy")


def serve(train: Any, problem: mtl.Problem) -> bool:
  """Whether the examples are vectors of numbers, which these baselines take, and not images, graphs or mixtures."""
  if isinstance(train, mtl.data.Mixture) or not isinstance(problem.inputs, str):
    return False
  shapes = [leaf.shape for leaf in jax.tree.leaves(train[problem.inputs])]
  return len(shapes) == 1 and len(shapes[0]) == 2


def flat(arrays: Mapping[str, Any], inputs: Any) -> np.ndarray:
  """The inputs of a network as one vector per example."""
  keys = [inputs] if isinstance(inputs, str) else list(inputs)
  leaves = jax.tree.leaves([arrays[key] for key in keys])
  return np.concatenate([np.reshape(leaf, (len(leaf), -1)) for leaf in leaves], axis=1)


def models(metric: str) -> Iterator[tuple[str, Any]]:
  """The baselines of a task that is judged by the metric, with settings that are nobody's choice but scikit-learn's."""
  from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
  from sklearn.linear_model import LogisticRegression, Ridge
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler

  classifies = metric in CLASSIFICATION
  linear = LogisticRegression(max_iter=1000) if classifies else Ridge()
  forest = RandomForestClassifier if classifies else RandomForestRegressor
  yield "logistic regression" if classifies else "ridge regression", make_pipeline(StandardScaler(), linear)
  yield "random forest", forest(100, random_state=0, n_jobs=1)


def scores(splits: Any, tasks: Mapping[str, mtl.Task], inputs: Any) -> dict[str, dict[str, float]]:
  """`{model: {task: test score}}`, by the main metrics of the tasks; NaN where a task has labels of one class only."""
  from sklearn import metrics

  measures = {
    "roc_auc": metrics.roc_auc_score,
    "accuracy": metrics.accuracy_score,
    "mae": metrics.mean_absolute_error,
    "r2": metrics.r2_score,
  }
  parts = [splits.train, splits.test]
  inputs_of = [flat(part, inputs) for part in parts]
  found: dict[str, dict[str, float]] = {}
  for name, task in tasks.items():
    pairs = []
    for part, x in zip(parts, inputs_of, strict=True):
      counted = slice(None) if task.mask is None else np.asarray(task.mask(part)) > 0
      pairs.append((x[counted], np.asarray(task.label(part))[counted]))
    (x, y), (test_x, test_y) = pairs
    for title, model in models(task.main_metric):
      own = found.setdefault(title, {})
      if task.main_metric in CLASSIFICATION and min(len(set(y.tolist())), len(set(test_y.tolist()))) < 2:
        own[name] = float("nan")
        continue
      model.fit(x, y)
      by_rank = task.main_metric == "roc_auc"
      own[name] = float(
        measures[task.main_metric](test_y, model.predict_proba(test_x)[:, 1] if by_rank else model.predict(test_x))
      )
  return found
