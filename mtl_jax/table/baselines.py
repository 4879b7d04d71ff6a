"""What linear models and boosted trees of scikit-learn make of the same table, one model per target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax._core.extras import extra
from mtl_jax.data.table import Preparation, Target
from mtl_jax.recipes import Splits
from mtl_jax.tasks import Task

Scores = dict[str, dict[str, float]]
_STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # of the linear models' regularisation
_RATES = (0.03, 0.1)  # learning rates of the trees
_MOST = 255  # integers that scikit-learn takes as categories


def baselines(prepared: Preparation, splits: Splits, tasks: Mapping[str, Task]) -> dict[str, Scores]:
  """Test metrics of models of scikit-learn, whose settings are chosen on the validation part.

  Linear models are logistic and ridge regression on what the network's first layer computes: numbers along their
  curves, flags of missing ones, an indicator for each word, and the counts of tokens. The trees are
  `HistGradientBoosting`, on numbers as they are and words as categories; they do not read text.

  Args:
    prepared: How the table became arrays.
    splits: The arrays.
    tasks: The tasks, whose metrics judge.

  Returns:
    `{"linear": {task: {metric: value}}, "boosted trees": ...}`.

  Raises:
    UserError: scikit-learn is not installed.
  """
  with extra("tables", "baselines need an extra"):
    import sklearn  # noqa: F401
  found = {"linear": _linear(prepared, splits, tasks)}
  if any(kind.block != "tokens" for kind in prepared.columns.values()):
    found["boosted trees"] = _trees(prepared, splits, tasks)
  return found


def _linear(prepared: Preparation, splits: Splits, tasks: Mapping[str, Task]) -> Scores:
  from sklearn.linear_model import LogisticRegression, Ridge

  features = [_flat(prepared, part["x"]) for part in splits[:3]]

  def models(target: Target) -> list[Any]:
    if target.classes:
      return [LogisticRegression(C=1 / strength, max_iter=1000) for strength in _STRENGTHS]
    return [Ridge(alpha=strength) for strength in _STRENGTHS]

  return {name: _best(prepared.targets[name], task, features, splits, models) for name, task in tasks.items()}


def _trees(prepared: Preparation, splits: Splits, tasks: Mapping[str, Task]) -> Scores:
  from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

  features = [_raw(part["x"]) for part in splits[:3]]
  numbers = len(prepared.curves()[0])
  words = [numbers + i for i, size in enumerate(prepared.sizes("words")) if size <= _MOST]
  many = len(features[0]) > 1000

  def models(target: Target) -> list[Any]:
    kind = HistGradientBoostingClassifier if target.classes else HistGradientBoostingRegressor
    options = {"early_stopping": many, "categorical_features": words or None, "random_state": 0}
    return [kind(learning_rate=rate, max_iter=500 if many else 100, **options) for rate in _RATES]

  return {name: _best(prepared.targets[name], task, features, splits, models) for name, task in tasks.items()}


def _flat(prepared: Preparation, x: Mapping[str, np.ndarray]) -> Any:
  """What the network's first layer computes, with indicators in place of learned vectors: a sparse matrix (N, D)."""
  from scipy import sparse

  parts = []
  if "numbers" in x:
    curves = zip(*prepared.curves(), x["numbers"].T, strict=True)
    along = np.stack([np.interp(values, knots, heights) for knots, heights, values in curves], axis=1)
    parts += [np.where(x["missing"], 0, along), x["missing"][:, list(prepared.indicated())]]
  blocks = [sparse.csr_array(part.astype(np.float32)) for part in parts]
  columns = [*zip(prepared.sizes("words"), x["words"].T, strict=True)] if "words" in x else []
  for size, codes in columns:
    ones, rows = np.ones(len(codes), np.float32), np.arange(len(codes))
    blocks.append(sparse.csr_array((ones, (rows, codes)), shape=(len(codes), size)))
  texts = [*zip(prepared.sizes("tokens"), x["tokens"].swapaxes(0, 1), strict=True)] if "tokens" in x else []
  for size, tokens in texts:
    there = tokens != 0
    shape = (len(tokens), size)
    blocks.append(
      sparse.csr_array((np.ones(there.sum(), np.float32), (np.nonzero(there)[0], tokens[there])), shape=shape)
    )
  return sparse.hstack(blocks, format="csr")


def _raw(x: Mapping[str, np.ndarray]) -> np.ndarray:
  """Numbers, NaN where they are missing, and words as integers, (N, F + C)."""
  parts = [np.where(x["missing"], np.nan, x["numbers"])] if "numbers" in x else []
  return np.concatenate([*parts, *([x["words"]] if "words" in x else [])], axis=1).astype(np.float64)


def _best(
  target: Target, task: Task, features: Sequence[Any], splits: Splits, models: Callable[[Target], list[Any]]
) -> dict[str, float]:
  """The test metrics of the model that does best on the validation part."""
  label, mask = target.keys
  labelled = slice(None) if mask is None else np.flatnonzero(splits.train[mask])
  rows, y = features[0][labelled], splits.train[label][labelled]
  best, score = None, -np.inf
  for model in models(target):
    model.fit(rows, y if target.classes else (y - target.mean) / target.std)
    value = _judged(task, _predicted(model, target, features[1]), splits.valid)[task.main_metric]
    value = value if task.higher_is_better else -value
    if best is None or value > score:
      best, score = model, value
  return _judged(task, _predicted(best, target, features[2]), splits.test)


def _predicted(model: Any, target: Target, rows: Any) -> np.ndarray:
  """A prediction as the task expects it of a network: logits, or standard deviations from the mean."""
  if not target.classes:
    return np.asarray(model.predict(rows), np.float32).reshape(-1)
  logits = np.log(np.clip(model.predict_proba(rows), 1e-7, 1))
  return (logits[:, 1] - logits[:, 0] if len(target.classes) == 2 else logits).astype(np.float32)


def _judged(task: Task, prediction: np.ndarray, arrays: Mapping[str, Any]) -> dict[str, float]:
  weights = np.ones(len(prediction), np.float32) if task.mask is None else np.asarray(task.mask(arrays))
  label = task.label(arrays)
  return {
    name: float(metric.compute(metric.merge([metric.of_batch(prediction, label, weights, arrays)])))
    for name, metric in task.metrics.items()
  }
