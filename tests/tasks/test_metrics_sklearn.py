"""Every metric against scikit-learn on random and degenerate data, with weights; what is undefined is NaN."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

import mtl_jax as mtl

m = mtl.tasks.metrics
SIZE, CLASSES = 60, 4
ROUNDING = 1e-6  # the greatest difference that float32 may leave


def argmax(logits):
  return logits.argmax(-1).astype(np.int32)


def iou(y, p, w):
  """By scikit-learn, of the classes that are there or decided."""
  there = np.union1d(y, argmax(p))
  return reference.jaccard_score(y, argmax(p), sample_weight=w, labels=there, average="macro")


def positive(scores):
  return (scores > 0).astype(np.int32)


def of_classes(function, **options):
  return lambda y, p, w: function(y, argmax(p), sample_weight=w, labels=range(CLASSES), zero_division=0, **options)


def of_two(function):
  return lambda y, p, w: function(y, positive(p), sample_weight=w, zero_division=0)


def one_class_is_nan(function):
  return lambda y, p, w: function(y, p, w) if len(np.unique(y)) == 2 else np.nan


def user_auc(y, p, w):
  """By the definition, a group at a time."""
  group = GROUPS[: len(y)] if len(y) == SIZE else GROUPS_OF_COUNTED
  parts = [(y[own], p[own], w[own]) for own in (group == g for g in np.unique(group))]
  parts = [part for part in parts if len(np.unique(part[0])) == 2]
  areas = [reference.roc_auc_score(a, b, sample_weight=c) for a, b, c in parts]
  return np.average(areas, weights=[c.sum() for _, _, c in parts]) if parts else np.nan


def calibration(came, p, w, edges):
  """By the definition, a bin at a time."""
  place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, len(edges) - 2)
  sums = [w[place == k] @ (p - came)[place == k] for k in range(len(edges) - 1)]
  return np.abs(sums).sum() / w.sum()


UNIFORM = np.linspace(0, 1, 16)
MACRO = {"average": "macro"}
TABLE = {
  "accuracy": ("classes", m.accuracy(argmax), lambda y, p, w: reference.accuracy_score(y, argmax(p), sample_weight=w)),
  "precision": ("classes", m.precision(argmax, CLASSES), of_classes(reference.precision_score, **MACRO)),
  "recall": ("classes", m.recall(argmax, CLASSES), of_classes(reference.recall_score, **MACRO)),
  "f1": ("classes", m.f1(argmax, CLASSES), of_classes(reference.f1_score, **MACRO)),
  "mean_iou": ("classes", m.mean_iou(argmax, CLASSES), iou),
  "log_loss classes": (
    "classes",
    m.log_loss(classes=CLASSES),
    lambda y, p, w: np.average(-log_softmax(p.astype(float), axis=1)[np.arange(len(y)), y], weights=w),
  ),
  "calibration classes": (
    "classes",
    m.calibration_error(lambda p: softmax(p, axis=-1), CLASSES),
    lambda y, p, w: calibration(argmax(p) == y, softmax(p.astype(float), axis=1).max(1), w, UNIFORM),
  ),
  "binary precision": ("binary", m.precision(positive), of_two(reference.precision_score)),
  "binary recall": ("binary", m.recall(positive), of_two(reference.recall_score)),
  "binary f1": ("binary", m.f1(positive), of_two(reference.f1_score)),
  "roc_auc": (
    "binary",
    m.roc_auc(),
    one_class_is_nan(lambda y, p, w: reference.roc_auc_score(y, p, sample_weight=w)),
  ),
  "average_precision": (
    "binary",
    m.average_precision(),
    lambda y, p, w: reference.average_precision_score(y, p, sample_weight=w) if y.any() else np.nan,
  ),
  "group_auc": ("binary", m.group_auc("user"), user_auc),
  "log_loss": (
    "binary",
    m.log_loss(),
    lambda y, p, w: reference.log_loss(y, expit(p.astype(float)), sample_weight=w, labels=[0, 1]),
  ),
  "calibration": ("binary", m.calibration_error(), lambda y, p, w: calibration(y, expit(p.astype(float)), w, UNIFORM)),
  "mean_absolute_error": (
    "real",
    m.mean_absolute_error(),
    lambda y, p, w: reference.mean_absolute_error(y, p, sample_weight=w),
  ),
  "r2": ("real", m.r2(), lambda y, p, w: reference.r2_score(y, p, sample_weight=w) if np.ptp(y) else np.nan),
}
GROUPS = np.random.default_rng(9).integers(0, 12, SIZE) * 100_000
COUNTED = np.arange(SIZE) % 5 > 0
GROUPS_OF_COUNTED = GROUPS[COUNTED]


def data(kind, case):
  """Predictions, labels and weights."""
  rng = np.random.default_rng(3)
  weight = np.where(COUNTED, rng.integers(1, 5, SIZE) / 4, 0.0) if case == "weights" else np.ones(SIZE)
  if kind == "classes":
    label = rng.integers(0, CLASSES, SIZE)
    prediction = rng.normal(size=(SIZE, CLASSES)) + 2 * np.eye(CLASSES)[label]
  elif kind == "binary":
    label = rng.integers(0, 2, SIZE)
    prediction = np.round(2 * rng.normal(size=SIZE) + label) / 2  # few distinct scores: many ties
  else:
    label = rng.normal(size=SIZE)
    prediction = label + rng.normal(size=SIZE)
  if case in ("all 0", "all 1"):
    label = np.full_like(label, case[-1])
  if case == "equal scores":
    prediction = np.zeros_like(prediction)
  return prediction.astype(np.float32), label if kind != "real" else label.astype(np.float32), weight.astype(np.float32)


@pytest.mark.parametrize("case", ["plain", "weights", "all 0", "all 1", "equal scores"])
@pytest.mark.parametrize("name", TABLE)
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_metrics_agree_with_scikit_learn(name, case):
  kind, metric, expected = TABLE[name]
  prediction, label, weight = data(kind, case)
  counted = weight > 0
  want = expected(label[counted], prediction[counted], weight[counted].astype(float))
  dirty = np.where(counted, label, np.nan if kind == "real" else -1).astype(label.dtype)
  batch = {"user": GROUPS}
  for cuts in ((0, SIZE), (0, 20, SIZE)):
    states = [
      metric.of_batch(prediction[a:b], dirty[a:b], weight[a:b], {"user": batch["user"][a:b]})
      for a, b in zip(cuts, cuts[1:], strict=False)
    ]
    assert float(metric.compute(metric.merge(states))) == pytest.approx(want, rel=ROUNDING, abs=ROUNDING, nan_ok=True)
  states = [metric.of_batch(prediction, dirty, 0 * weight, batch)]
  assert np.isnan(float(metric.compute(metric.merge(states))))


def merged(metric, *arrays):
  return float(metric.compute(metric.merge([metric.update(*arrays)])))


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_calibration_is_that_of_scikit_learn_and_weights_count_repetitions(strategy):
  rng = np.random.default_rng(0)
  p, label = rng.uniform(size=SIZE).astype(np.float32), rng.integers(0, 2, SIZE)
  metric = m.calibration_error(lambda p: p, bins=5, strategy=strategy)
  came, mean = calibration_curve(label, p, n_bins=5, strategy=strategy)
  edges = np.linspace(0, 1, 6) if strategy == "uniform" else np.quantile(p, np.linspace(0, 1, 6))
  shares = np.histogram(p, edges)[0] / SIZE
  assert merged(metric, p, label, np.ones(SIZE)) == pytest.approx(shares @ np.abs(came - mean), abs=ROUNDING)
  times = rng.integers(0, 4, SIZE)
  repeated = merged(metric, np.repeat(p, times), np.repeat(label, times), np.ones(times.sum()))
  assert merged(metric, p, label, times) == pytest.approx(repeated, abs=ROUNDING)
  columns = [np.stack([a, a], axis=1) for a in (p, label)]
  assert merged(metric, *columns, times) == pytest.approx(repeated, abs=ROUNDING)
  assert not metric.higher_is_better


def test_labels_without_positives_are_left_out_of_average_precision():
  rng = np.random.default_rng(0)
  scores, label = rng.normal(size=(SIZE, 3)).astype(np.float32), rng.integers(0, 2, (SIZE, 3))
  label[:, 1] = 0
  want = np.mean([reference.average_precision_score(label[:, k], scores[:, k]) for k in (0, 2)])
  assert merged(m.average_precision(), scores, label, np.ones(SIZE)) == pytest.approx(want, abs=ROUNDING)
  scores[0, 1] = np.nan
  assert np.isnan(merged(m.average_precision(), scores, label, np.ones(SIZE)))


def test_mistakes():
  with pytest.raises(mtl.UserError, match="calibration_error: bins is 0, expected at least 1"):
    m.calibration_error(bins=0)
  with pytest.raises(mtl.UserError, match="unknown strategy 'width'.*: choose from uniform, quantile"):
    m.calibration_error(strategy="width")
  scores, label = np.zeros(3, np.float32), np.zeros(3, int)
  with pytest.raises(mtl.UserError, match=r"group_auc of 'user': scores are \(3,\), .* groups float32 \(3,\)"):
    m.group_auc("user").update(scores, label, np.ones(3), scores)
  with pytest.raises(mtl.UserError, match="the batch has no entry 'user'"):
    m.group_auc("user").of_batch(scores, label, np.ones(3), {"uesr": label})
