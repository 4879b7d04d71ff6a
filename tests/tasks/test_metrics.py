"""Metrics against scikit-learn, whole and merged from random chunks."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as reference

import mtl_jax as mtl

SEEDS = range(8)
SIZE, CUTS = 60, (0, 20, 40, 60)  # few shapes: operations compile once a shape
CLASSES = 4


def merged(metric, prediction, label, mask, cuts=()):
  """The metric over the chunks between `cuts`; chunks may be empty."""
  edges = [0, *sorted(cuts), len(mask)]
  parts = [
    metric.update(prediction[a:b], label[a:b], mask[a:b]) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a
  ]
  return float(metric.compute(metric.merge(parts)))


def weights(rng, kind: str, size: int) -> np.ndarray:
  masks = {
    "ones": np.ones(size),
    "zeros and ones": rng.integers(0, 2, size),
    "fractions": rng.integers(0, 5, size) / 4,
  }
  return masks[kind].astype(np.float32)


def argmax(logits):
  return jnp.argmax(logits, axis=-1)


def positive(scores):
  return (scores > 0).astype(jnp.int32)


def macro(function):
  return lambda y, p, w: function(
    y, p.argmax(-1), sample_weight=w, average="macro", labels=range(CLASSES), zero_division=0
  )


def of_two(function):
  return lambda y, p, w: function(y, (p > 0).astype(int), sample_weight=w, zero_division=0)


m = mtl.tasks.metrics
METRICS = {
  "accuracy": (
    "classes",
    m.accuracy(argmax),
    lambda y, p, w: reference.accuracy_score(y, p.argmax(-1), sample_weight=w),
  ),
  "precision": ("classes", m.precision(argmax, CLASSES), macro(reference.precision_score)),
  "recall": ("classes", m.recall(argmax, CLASSES), macro(reference.recall_score)),
  "f1": ("classes", m.f1(argmax, CLASSES), macro(reference.f1_score)),
  "binary precision": ("binary", m.precision(positive), of_two(reference.precision_score)),
  "binary recall": ("binary", m.recall(positive), of_two(reference.recall_score)),
  "binary f1": ("binary", m.f1(positive), of_two(reference.f1_score)),
  "roc_auc": ("binary", m.roc_auc(), lambda y, p, w: reference.roc_auc_score(y, p, sample_weight=w)),
  "r2": ("real", m.r2(), lambda y, p, w: reference.r2_score(y, p, sample_weight=w)),
}


def random_data(kind: str, rng, size: int):
  if kind == "classes":
    return rng.normal(size=(size, CLASSES)).astype(np.float32), rng.integers(0, CLASSES, size)
  if kind == "binary":
    label = rng.integers(0, 2, size)
    # few distinct scores: many ties
    return (np.round(2 * rng.normal(size=size) + label) / 2).astype(np.float32), label
  label = rng.normal(size=size).astype(np.float32)
  return (label + 0.5 * rng.normal(size=size)).astype(np.float32), label


@pytest.mark.parametrize("mask", ["ones", "zeros and ones", "fractions"])
@pytest.mark.parametrize("name", list(METRICS))
@pytest.mark.slow
def test_metrics_equal_scikit_learn_whole_and_merged_from_chunks(name, mask):
  kind, metric, expected = METRICS[name]
  for seed in SEEDS:
    rng = np.random.default_rng(seed)
    prediction, label = random_data(kind, rng, SIZE)
    weight = weights(rng, mask, SIZE)
    counted = weight > 0
    want = expected(label[counted], prediction[counted], weight[counted])
    dirty = np.where(counted, label, -1 if kind != "real" else np.nan).astype(label.dtype)
    # float32 sums of 60 terms
    assert merged(metric, prediction, dirty, weight) == pytest.approx(want, rel=1e-5, abs=1e-6)
    cuts = rng.choice(CUTS, size=3)
    assert merged(metric, prediction, dirty, weight, cuts) == pytest.approx(want, rel=1e-5, abs=1e-6)


def test_accuracy_and_macro_scores_of_label_vectors():
  rng = np.random.default_rng(0)
  scores, label = rng.normal(size=(SIZE, 3)).astype(np.float32), rng.integers(0, 2, (SIZE, 3))
  weight = np.ones(SIZE, np.float32)
  decided = (scores > 0).astype(int)
  assert merged(m.accuracy(positive), scores, label, weight) == pytest.approx((decided == label).mean())
  assert merged(m.roc_auc(), scores, label, weight, [20]) == pytest.approx(reference.roc_auc_score(label, scores))
  for name in ("precision", "recall", "f1"):
    want = getattr(reference, f"{name}_score")(label, decided, average="macro")
    assert merged(getattr(m, name)(positive), scores, label, weight, [20]) == pytest.approx(want)


@pytest.mark.slow
def test_weights_of_entries_weigh_each_label_by_itself():
  rng = np.random.default_rng(2)
  scores, label = rng.normal(size=(SIZE, 3)).astype(np.float32), rng.integers(0, 2, (SIZE, 3))
  weight = (rng.integers(0, 5, (SIZE, 3)) / 4).astype(np.float32)
  real = (scores + rng.normal(size=(SIZE, 3))).astype(np.float32)
  columns = [(label[:, k], (scores > 0)[:, k], weight[:, k]) for k in range(3)]
  want = {
    name: np.mean([getattr(reference, f"{name}_score")(y, d, sample_weight=w) for y, d, w in columns])
    for name in ("precision", "recall", "f1")
  }
  want["roc_auc"] = np.mean(
    [reference.roc_auc_score(y, scores[:, k], sample_weight=w) for k, (y, _, w) in enumerate(columns)]
  )
  want["accuracy"] = np.average((scores > 0) == label, weights=weight)
  want["r2"] = np.mean([reference.r2_score(real[:, k], scores[:, k], sample_weight=weight[:, k]) for k in range(3)])
  for name, value in want.items():
    metric = getattr(m, name)(*(() if name in ("roc_auc", "r2") else (positive,)))
    truth = real if name == "r2" else label
    dirty = np.where(weight > 0, truth, np.nan if name == "r2" else -1).astype(truth.dtype)
    for cuts in ((), (20,)):
      assert merged(metric, scores, dirty, weight, cuts) == pytest.approx(value, rel=1e-5), name
    # A label without weight is left out.
    wider = [np.concatenate([a, a[:, :1]], axis=1) for a in (scores, dirty)]
    assert merged(metric, *wider, np.concatenate([weight, 0 * weight[:, :1]], axis=1)) == pytest.approx(value, rel=1e-5)


def test_classes_of_entries_count_one_by_one():
  rng = np.random.default_rng(3)
  logits, label = rng.normal(size=(SIZE, 2, CLASSES)).astype(np.float32), rng.integers(0, CLASSES, (SIZE, 2))
  weight = rng.integers(0, 3, (SIZE, 2)).astype(np.float32)
  flat = macro(reference.f1_score)
  want = flat(label.ravel(), logits.reshape(-1, CLASSES), weight.ravel())
  assert merged(m.f1(argmax, CLASSES), logits, label, weight, [20]) == pytest.approx(want, rel=1e-5)
  want = flat(label.ravel(), logits.reshape(-1, CLASSES), np.repeat(weight[:, 0], 2))
  assert merged(m.f1(argmax, CLASSES), logits, label, weight[:, 0], [20]) == pytest.approx(want, rel=1e-5)


def test_roc_auc_is_exact_on_many_examples_and_rare_classes():
  rng = np.random.default_rng(1)
  label = (rng.uniform(size=20000) < 0.999).astype(np.int32)
  scores = (rng.normal(size=20000) + label).astype(np.float32)
  want = reference.roc_auc_score(label, scores)
  assert merged(m.roc_auc(), scores, label, np.ones(20000, np.float32)) == pytest.approx(want, abs=1e-6)


def test_roc_auc_leaves_out_labels_of_one_class_and_shows_nan_scores():
  label = np.tile([[0, 1, 1], [1, 1, 1], [0, 1, 1]], (20, 1))
  scores = np.tile(np.array([[0.1, 0.3, 0.4], [0.9, 0.2, 0.4], [0.95, 0.1, 0.4]], np.float32), (20, 1))
  weight = np.ones(SIZE, np.float32)
  assert merged(m.roc_auc(), scores, label, weight) == pytest.approx(0.5)
  assert np.isnan(merged(m.roc_auc(), scores, np.ones_like(label), weight))
  scores[0, 0] = np.nan
  assert np.isnan(merged(m.roc_auc(), scores, label, weight))
  weight[::3] = 0
  assert merged(m.roc_auc(), scores, label, weight) == pytest.approx(0.0)


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e6, 1e6])
def test_r2_far_from_zero(offset):
  for seed in SEEDS:
    rng = np.random.default_rng(seed)
    # Rounded to float32 first: what is left is the metric's own error. At 1e6 labels are multiples of 1/16.
    label = (offset + rng.normal(size=SIZE)).astype(np.float32)
    prediction = (label + 0.7 * rng.normal(size=SIZE)).astype(np.float32)
    weight = weights(rng, "zeros and ones", SIZE)
    counted = weight > 0
    want = reference.r2_score(label[counted].astype(np.float64), prediction[counted].astype(np.float64))
    for cuts in ((), (20,), (20, 40)):
      assert merged(m.r2(), prediction, label, weight, cuts) == pytest.approx(want, abs=2e-5)


def test_r2_of_chunks_that_lie_far_apart():
  rng = np.random.default_rng(0)
  label = np.concatenate([rng.normal(size=20), 1e4 + rng.normal(size=40)]).astype(np.float32)
  prediction = (label + 1000 * rng.normal(size=SIZE)).astype(np.float32)
  want = reference.r2_score(label, prediction)
  for cuts in ((), (20,), (20, 40), (40,)):
    assert merged(m.r2(), prediction, label, np.ones(SIZE, np.float32), cuts) == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e6, 1e-6])
def test_r2_of_constant_labels_is_nan(value):
  label = np.full(SIZE, value, np.float32)
  prediction = label + np.linspace(0, 1, SIZE, dtype=np.float32)
  for cuts in ((), (20, 40)):
    assert np.isnan(merged(m.r2(), prediction, label, np.ones(SIZE, np.float32), cuts))


def test_r2_is_averaged_over_outputs():
  rng = np.random.default_rng(0)
  label = rng.normal(size=(SIZE, 3)).astype(np.float32)
  prediction = (label + rng.normal(size=(SIZE, 3)) * [0.1, 0.5, 2.0]).astype(np.float32)
  want = reference.r2_score(label, prediction)
  assert merged(m.r2(), prediction, label, np.ones(SIZE, np.float32), [20]) == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("name", list(METRICS))
def test_nan_when_no_example_counts(name):
  kind, metric, _ = METRICS[name]
  prediction, label = random_data(kind, np.random.default_rng(0), SIZE)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert np.isnan(merged(metric, prediction, label, np.zeros(SIZE, np.float32)))


def test_chunks_without_counted_examples_change_nothing():
  for kind, metric, _ in METRICS.values():
    prediction, label = random_data(kind, np.random.default_rng(3), SIZE)
    weight = np.ones(SIZE, np.float32)
    weight[:20] = 0
    want = merged(metric, prediction, label, weight)
    assert merged(metric, prediction, label, weight, [20]) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float32])
def test_binary_labels_of_any_dtype(dtype):
  prediction, label = random_data("binary", np.random.default_rng(0), SIZE)
  for kind, metric, _ in METRICS.values():
    if kind == "binary":
      want = merged(metric, prediction, label, np.ones(SIZE, np.float32))
      assert merged(metric, prediction, label.astype(dtype), np.ones(SIZE, bool)) == pytest.approx(want)


def test_means():
  mean = m.mean(lambda p, y: jnp.square(p - y), higher_is_better=False, final=jnp.sqrt)
  prediction, label = random_data("real", np.random.default_rng(0), SIZE)
  label[3] = np.nan
  weight = np.ones(SIZE, np.float32)
  weight[3] = 0
  counted = weight > 0
  want = reference.root_mean_squared_error(label[counted], prediction[counted])
  assert merged(mean, prediction, label, weight, [20]) == pytest.approx(want, rel=1e-5)
  assert not mean.higher_is_better and m.r2().higher_is_better


def test_collected_whole_and_merged_from_chunks():
  """Average precision, which is no mean over chunks."""

  def precision(scores, labels, weights):
    return reference.average_precision_score(labels, scores, sample_weight=weights)

  collected = m.collected(precision)
  for seed in SEEDS:
    rng = np.random.default_rng(seed)
    prediction, label = random_data("binary", rng, SIZE)
    weight = weights(rng, "fractions", SIZE)
    counted = weight > 0
    want = precision(prediction[counted], label[counted], weight[counted])
    dirty = np.where(counted, label, -1)
    for cuts in ((), (20,), (20, 40)):
      assert merged(collected, prediction, dirty, weight, cuts) == pytest.approx(want, rel=1e-12)


def test_collected_arrays_may_be_changed_in_place():
  def smallest(scores, labels, weights):
    scores.sort()
    labels["y"] -= 1
    return scores[0]

  scores = np.array([3.0, 1.0, 2.0], np.float32)
  label = {"y": np.arange(3)}
  state = m.collected(smallest).update(scores, label, np.ones(3))
  assert m.collected(smallest).compute(state) == 1 and label["y"].tolist() == [0, 1, 2]


def test_collected_metrics_tell_what_does_not_fit_in_one_line():
  collected = m.collected(lambda scores, labels, weights: scores, score=lambda prediction: {"mean": prediction.mean()})
  with pytest.raises(mtl.UserError, match=r"has scores\['mean'\] of shape \(\), expected one entry for each of the 3"):
    collected.update(jnp.ones(3), jnp.ones(3), np.ones(3))
  collected = m.collected(lambda scores, labels, weights: scores)
  with pytest.raises(mtl.UserError, match=r"has labels of shape \(2,\), expected one entry for each of the 3 examples"):
    collected.update(jnp.ones(3), jnp.ones(2), np.ones(3))
  state = collected.update(jnp.ones(3), jnp.ones(3), np.ones(3))
  with pytest.raises(mtl.UserError, match="function of a collected metric returned array.*, expected a number"):
    collected.compute(state)
