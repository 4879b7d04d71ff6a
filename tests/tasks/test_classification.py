"""Classification losses against hand formulas, outputs, metrics of a task, and what users are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

import mtl_jax as mtl

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 3)).astype(np.float32)
CLASS = np.array([0, 2, 1, 1, 2, 0], np.int32)
YES = np.array([0, 1, 0, 0, 1, 1], np.int32)


def log_softmax(x):
  return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def log_sigmoid(x):
  return -np.log1p(np.exp(-x))


def test_binary_loss_at_even_odds():
  label = jnp.array([0, 1, 0, 0, 1])
  losses = mtl.tasks.binary("y").loss(jnp.zeros(5), {"y": label})
  np.testing.assert_allclose(losses, np.log(2) * np.ones(5), rtol=1e-6)
  # -sum y log p, the positive examples' share
  np.testing.assert_allclose(jnp.sum(losses * label.astype(jnp.float32)), 1.3863, rtol=1e-4)


def test_softmax_cross_entropy():
  losses = mtl.tasks.classification("y", 3).loss(LOGITS, {"y": CLASS})
  np.testing.assert_allclose(losses, -log_softmax(LOGITS)[np.arange(6), CLASS], rtol=1e-5)


def test_label_smoothing():
  task = mtl.tasks.classification("y", 3, label_smoothing=0.3)
  target = 0.7 * np.eye(3)[CLASS] + 0.1
  np.testing.assert_allclose(task.loss(LOGITS, {"y": CLASS}), -(target * log_softmax(LOGITS)).sum(axis=1), rtol=1e-5)


def test_class_weights_scale_the_examples_losses():
  plain = mtl.tasks.classification("y", 3).loss(LOGITS, {"y": CLASS})
  weighted = mtl.tasks.classification("y", 3, class_weights=[0.0, 2.0, 5.0]).loss(LOGITS, {"y": CLASS})
  np.testing.assert_allclose(weighted, plain * np.array([0.0, 2.0, 5.0])[CLASS], rtol=1e-6)


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float32, bool])
def test_sigmoid_cross_entropy(shape, dtype):
  logits = LOGITS[:, 0]
  want = -YES * log_sigmoid(logits) - (1 - YES) * log_sigmoid(-logits)
  losses = mtl.tasks.binary("y").loss(logits.reshape(shape), {"y": YES.astype(dtype)})
  np.testing.assert_allclose(losses, want, rtol=1e-5)


def test_positive_weight():
  plain = mtl.tasks.binary("y").loss(LOGITS[:, 0], {"y": YES})
  weighted = mtl.tasks.binary("y", positive_weight=3.0).loss(LOGITS[:, 0], {"y": YES})
  np.testing.assert_allclose(weighted, plain * np.where(YES, 3.0, 1.0), rtol=1e-6)


def test_class_weights_of_two_classes_and_of_labels():
  plain = mtl.tasks.binary("y").loss(LOGITS[:, 0], {"y": YES})
  weighted = mtl.tasks.binary("y", class_weights=(0.5, 3.0)).loss(LOGITS[:, 0], {"y": YES})
  np.testing.assert_allclose(weighted, plain * np.where(YES, 3.0, 0.5), rtol=1e-6)
  label = RNG.integers(0, 2, (6, 3))
  columns = np.stack([mtl.tasks.binary("y").loss(LOGITS[:, k], {"y": label[:, k]}) for k in range(3)], axis=1)
  for weights in ([(0.5, 3.0), (1.0, 0.0), (2.0, 4.0)], [2.0, 0.0, 0.5]):
    pairs = np.asarray(weights) if np.ndim(weights) == 2 else np.stack([weights, weights], axis=1)
    want = (columns * np.where(label, pairs[:, 1], pairs[:, 0])).mean(axis=1)
    losses = mtl.tasks.multilabel("y", 3, class_weights=weights).loss(LOGITS, {"y": label})
    np.testing.assert_allclose(losses, want, rtol=1e-5)
  same = [{"positive_weight": 2.0}, {"class_weights": [(1.0, 2.0)] * 3}]
  np.testing.assert_array_equal(*(mtl.tasks.multilabel("y", 3, **o).loss(LOGITS, {"y": label}) for o in same))


@pytest.mark.slow
def test_focal_losses():
  logits, gamma = LOGITS[:, 0], 1.5
  right = np.exp(np.where(YES, log_sigmoid(logits), log_sigmoid(-logits)))
  want = -((1 - right) ** gamma) * np.log(right)
  losses = mtl.tasks.binary("y", focal=gamma, class_weights=(1.0, 2.0)).loss(logits, {"y": YES})
  np.testing.assert_allclose(losses, want * np.where(YES, 2.0, 1.0), rtol=1e-5)
  both = np.stack([YES, YES], axis=1)
  losses = mtl.tasks.multilabel("y", 2, focal=gamma).loss(np.stack([logits, logits], axis=1), {"y": both})
  np.testing.assert_allclose(losses, want, rtol=1e-5)
  logs = log_softmax(LOGITS)
  losses = mtl.tasks.classification("y", 3, focal=gamma, label_smoothing=0.3).loss(LOGITS, {"y": CLASS})
  target = 0.7 * np.eye(3)[CLASS] + 0.1
  np.testing.assert_allclose(losses, -(target * (1 - np.exp(logs)) ** gamma * logs).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("focal", [-1.0, 0.5, np.inf, np.nan])
def test_focal_losses_have_derivatives_everywhere(focal):
  with pytest.raises(mtl.UserError, match="focal is .*, expected 0 or at least 1"):
    mtl.tasks.binary("y", focal=focal)


def test_balanced_weights():
  np.testing.assert_allclose(
    mtl.tasks.balanced_weights(CLASS), compute_class_weight("balanced", classes=np.arange(3), y=CLASS)
  )
  label = np.stack([YES, CLASS > 1, CLASS > 0], axis=1).astype(np.float32)
  label[0, 0] = np.nan
  found = mtl.tasks.balanced_weights(label)
  np.testing.assert_allclose(found[0], [5 / 4, 5 / 6])
  np.testing.assert_allclose(
    found[1], compute_class_weight("balanced", classes=np.arange(2), y=(CLASS > 1).astype(int))
  )
  mtl.tasks.multilabel("y", 3, class_weights=found)
  for labels, classes, message in (
    ([0, 2], None, "class 1 does not occur"),
    ([0, 1], 3, "class 2 does not occur"),
    ([0, 3, 1, 2], 3, "a label is 3, expected below num_classes, 3"),
    ([0.5, 1.0], None, "labels are float64"),
    ([-1, 1], None, "expected integers from 0"),
  ):
    with pytest.raises(mtl.UserError, match=message):
      mtl.tasks.balanced_weights(labels, classes)


def test_multilabel_is_the_mean_of_its_entries():
  label = RNG.integers(0, 2, (6, 3))
  want = [mtl.tasks.binary("y", positive_weight=2.0).loss(LOGITS[:, i], {"y": label[:, i]}) for i in range(3)]
  losses = mtl.tasks.multilabel("y", 3, positive_weight=2.0).loss(LOGITS, {"y": label})
  np.testing.assert_allclose(losses, np.mean(want, axis=0), rtol=1e-5)


def test_losses_stay_finite_at_extreme_logits():
  for task, logits, label in (
    (mtl.tasks.binary("y"), jnp.array([1e4, -1e4]), jnp.array([0, 1])),
    (mtl.tasks.classification("y", 2), jnp.array([[1e4, -1e4], [-1e4, 1e4]]), jnp.array([1, 0])),
    (mtl.tasks.classification("y", 2, focal=1.0), jnp.array([[1e4, -1e4], [-1e4, 1e4]]), jnp.array([1, 1])),
  ):
    losses, gradient = jax.value_and_grad(lambda p, t=task, y=label: t.loss(p, {"y": y}).sum())(logits)
    assert np.isfinite(losses) and np.isfinite(gradient).all()


def test_outputs():
  out = mtl.tasks.classification("y", 3).output(LOGITS)
  np.testing.assert_array_equal(out["class"], LOGITS.argmax(axis=1))
  np.testing.assert_allclose(out["probability"], np.exp(log_softmax(LOGITS)), rtol=1e-5)
  out = mtl.tasks.binary("y").output(LOGITS[:, :1])
  np.testing.assert_array_equal(out["class"], LOGITS[:, 0] > 0)
  np.testing.assert_allclose(out["probability"], np.exp(log_sigmoid(LOGITS[:, 0])), rtol=1e-5)


@pytest.mark.parametrize(
  ("task", "prediction", "label", "main"),
  [
    (mtl.tasks.classification("y", 3, mask="m"), LOGITS, CLASS, "accuracy"),
    (mtl.tasks.binary("y", mask="m"), LOGITS[:, :1], YES, "roc_auc"),
    (mtl.tasks.multilabel("y", 3, mask="m"), LOGITS, np.eye(3, dtype=np.int32)[CLASS], "roc_auc"),
  ],
)
@pytest.mark.slow
def test_metrics_read_their_label_and_mask_from_the_batch(task, prediction, label, main):
  assert task.main_metric == main and task.higher_is_better
  mask = np.array([1, 1, 1, 1, 1, 0], np.float32)
  perfect = 10.0 * np.where(label, 1.0, -1.0) if main == "roc_auc" else 10.0 * np.eye(3)[label]
  perfect = perfect.reshape(prediction.shape).astype(np.float32)
  perfect[5] *= -1  # wrong where it does not count
  for name, metric in task.metrics.items():
    value = metric.compute(metric.update(perfect, task.label({"y": label}), mask))
    assert float(value) == pytest.approx(1.0), name


@pytest.mark.parametrize(
  "make",
  [
    lambda **o: mtl.tasks.classification("y", 3, **o),
    lambda **o: mtl.tasks.binary("y", **o),
    lambda **o: mtl.tasks.multilabel("y", 3, **o),
    lambda **o: mtl.tasks.regression("y", **o),
  ],
)
def test_weights_are_the_product_of_mask_and_weight_and_none_where_there_is_neither(make):
  assert make().mask is None
  batch = {"y": np.zeros((6, 3)), "m": np.array([1, 0, 1, 1, 0, 0.5]), "w": np.arange(6)}
  np.testing.assert_array_equal(make(mask="m").mask(batch), batch["m"])
  np.testing.assert_array_equal(make(weight="w").mask(batch), np.arange(6.0))
  np.testing.assert_array_equal(make(mask="m", weight="w").mask(batch), [0, 0, 2, 3, 0, 2.5])
  batch["w"] = np.arange(18).reshape(6, 3)
  np.testing.assert_array_equal(make(mask="m", weight="w").mask(batch), batch["m"][:, None] * batch["w"])


def test_check_accepts_any_weights_at_least_0():
  weight = np.array([0.0, 1e6, 3, 0.5, 0, 1])
  mtl.tasks.classification("y", 3, weight="m").check("kind", GOOD | {"m": weight})
  mtl.tasks.classification("y", 3, weight="m").check("kind", {"y": CLASS - 9, "m": 0 * weight})
  mtl.tasks.multilabel("y", 2, mask="m").check("tags", {"y": np.array([[0, np.nan], [-1, 1]]), "m": np.eye(2)})


GOOD = {"y": CLASS, "m": np.array([1, 0.5, 0, 1, 1, 1])}


def test_check_accepts_good_labels_and_anything_where_masked():
  task = mtl.tasks.classification("y", 3, mask="m")
  task.check("kind", GOOD)
  task.check("kind", GOOD | {"y": np.array([0, 2, -1, 1, 2, 0])})
  mtl.tasks.binary("y", mask="m").check("flag", GOOD | {"y": np.array([0, 1, np.nan, 1, 1, 0])})
  mtl.tasks.binary("y").check("flag", {"y": YES.astype(bool)})
  mtl.tasks.multilabel("y", 2).check("tags", {"y": np.eye(2)})


CHECKS = {
  "range": (mtl.tasks.classification("y", 2), GOOD, r"task 'kind': label 'y' ranges over \[0, 2\], expected \[0, 1\]"),
  "negative": (mtl.tasks.classification("y", 3), {"y": CLASS - 1}, r"ranges over \[-1, 1\], expected \[0, 2\]"),
  "dtype": (mtl.tasks.classification("y", 3), {"y": CLASS * 1.0}, "label 'y' has dtype float64, expected integers"),
  "shape": (mtl.tasks.classification("y", 3), {"y": CLASS[:, None]}, r"label 'y' has shape \(6, 1\), expected \(N,\)"),
  "missing": (mtl.tasks.classification("z", 3), GOOD, r"the data has no label 'z', only 'y', 'm'"),
  "misspelt mask": (mtl.tasks.binary("y", mask="mm"), GOOD, r"the data has no mask 'mm'.*did you mean 'm'"),
  "mask above 1": (
    mtl.tasks.binary("y", mask="m"),
    {"y": YES, "m": 2.0 * YES},
    r"'m' has values outside \[0, 1\], .*2",
  ),
  "mask of nan": (mtl.tasks.binary("y", mask="m"), {"y": YES, "m": YES * np.nan}, r"outside \[0, 1\], first nan"),
  "negative weight": (
    mtl.tasks.classification("y", 3, weight="m"),
    GOOD | {"m": np.array([1, 2, 3, -0.5, np.nan, 1])},
    r"weight 'm' has values that are negative, NaN or infinite, first -0.5 in example 3: expected at least 0",
  ),
  "nan weight of an entry": (
    mtl.tasks.multilabel("y", 2, weight="m"),
    {"y": np.eye(2), "m": np.array([[1, 2], [3, np.nan]])},
    r"weight 'm' .* first nan in example 1",
  ),
  "infinite weight": (
    mtl.tasks.binary("y", weight="m"),
    {"y": YES, "m": np.where(YES, 1.0, np.inf)},
    "first inf in example 0",
  ),
  "complex weight": (mtl.tasks.binary("y", weight="m"), {"y": YES, "m": YES * 1j}, "'m' has dtype complex128"),
  "weight shape": (
    mtl.tasks.multilabel("y", 2, weight="m"),
    {"y": np.eye(2), "m": np.ones((2, 3))},
    r"weight 'm' has shape \(2, 3\), expected \(2,\), one per example, or \(2, 2\), one per entry",
  ),
  "misspelt weight": (mtl.tasks.binary("y", weight="mm"), GOOD, r"the data has no weight 'mm'.*did you mean 'm'"),
  "mask shape": (
    mtl.tasks.binary("y", mask="m"),
    {"y": YES, "m": np.ones((6, 2))},
    r"mask 'm' has shape \(6, 2\), expected \(6,\)",
  ),
  "three classes as two": (mtl.tasks.binary("y"), {"y": CLASS}, "label 'y' holds 2, expected only 0 and 1"),
  "nan": (mtl.tasks.binary("y"), {"y": YES * np.nan}, "label 'y' has 6 NaN values, the first in example 0: set mask="),
  "columns": (mtl.tasks.multilabel("y", 3), {"y": np.eye(2)}, "label 'y' has 2 columns, expected 3"),
}


@pytest.mark.parametrize("name", list(CHECKS))
def test_labels_that_cannot_be_used_are_told_in_one_line(name):
  task, arrays, message = CHECKS[name]
  with pytest.raises(mtl.UserError, match=message) as error:
    task.check("kind", arrays)
  assert "\n" not in str(error.value) and str(error.value).startswith("task 'kind'")


LOSS_ERRORS = {
  "wide head": (mtl.tasks.classification("y", 2), LOGITS, CLASS, r"label 'y' has shape \(6, 3\), expected \(6, 2\)"),
  "two logits": (mtl.tasks.binary("y"), LOGITS[:, :2], YES, r"label 'y' has shape \(6, 2\), expected \(6,\)"),
  "label matrix": (mtl.tasks.classification("y", 3), LOGITS, CLASS[:, None], r"label 'y' has shape \(6, 1\)"),
  "float classes": (mtl.tasks.classification("y", 3), LOGITS, CLASS * 1.0, "label 'y' has dtype float"),
  "tags": (mtl.tasks.multilabel("y", 2), LOGITS, np.ones((6, 2)), r"has shape \(6, 3\), expected \(6, 2\)"),
  "no label": (mtl.tasks.classification("z", 3), LOGITS, CLASS, "the batch has no label 'z', only 'y'"),
}


@pytest.mark.parametrize("name", list(LOSS_ERRORS))
def test_shapes_that_do_not_fit_are_told_in_one_line(name):
  task, prediction, label, message = LOSS_ERRORS[name]
  with pytest.raises(mtl.UserError, match=message) as error:
    task.loss(prediction, {"y": label})
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: mtl.tasks.classification("y", 1), "num_classes is 1, expected at least 2"),
    (lambda: mtl.tasks.classification("y", 2, label_smoothing=1.0), r"label_smoothing is 1.0, expected in \[0, 1\)"),
    (
      lambda: mtl.tasks.classification("y", 3, class_weights=[1.0, 2.0]),
      r"class_weights are \[1.0, 2.0\], expected numbers of shape \(3,\)",
    ),
    (lambda: mtl.tasks.classification("y", 2, class_weights=[1.0, -2.0]), "class_weights.*at least 0"),
    (lambda: mtl.tasks.binary("y", positive_weight=0.0), "positive_weight is 0.0, expected above 0"),
    (lambda: mtl.tasks.binary("y", positive_weight=float("nan")), "positive_weight is nan, expected above 0"),
    (lambda: mtl.tasks.classification("y", 2, class_weights=[1.0, float("nan")]), "class_weights hold nan, expected"),
    (lambda: mtl.tasks.binary("y", class_weights=(1.0, float("inf"))), "class_weights hold inf, expected"),
    (lambda: mtl.tasks.binary("y", class_weights=[1.0]), r"class_weights are \[1.0\], expected .* \(2,\)"),
    (lambda: mtl.tasks.binary("y", positive_weight=2, class_weights=(1, 2)), "part of class_weights: give one of them"),
    (lambda: mtl.tasks.multilabel("y", 3, class_weights=[(1, 2)]), r"expected numbers of shape \(3, 2\) or \(3,\)"),
    (
      lambda: mtl.tasks.multilabel("y", 2, class_weights=[1, (1, 2)]),
      "class_weights are .*, expected numbers of shape",
    ),
    (lambda: mtl.tasks.multilabel("y", 0), "num_labels is 0, expected at least 1"),
  ],
)
def test_options_out_of_range(make, message):
  with pytest.raises(mtl.UserError, match=message):
    make()


def test_with_metrics_adds_metrics_and_keeps_the_main_one():
  m = mtl.tasks.metrics
  task = mtl.tasks.with_metrics(mtl.tasks.binary("y"), log_loss=m.log_loss(), f1=m.accuracy(lambda p: p > 0))
  assert list(task.metrics) == ["roc_auc", "accuracy", "f1", "precision", "recall", "log_loss"]
  assert task.main_metric == "roc_auc"
  f1 = task.metrics["f1"]
  assert float(f1.compute(f1.update(LOGITS[:, 0], LOGITS[:, 0] > 0, np.ones(6)))) == 1.0


def test_several_labels_per_example_of_which_some_are_none():
  task = mtl.tasks.classification("kind", 3, ignore=-1)
  logits = jax.random.normal(jax.random.key(0), (2, 3, 3))
  labels = {"kind": jnp.array([[0, 2, -1], [1, -1, -1]])}
  losses, weights = task.loss(logits, labels), task.mask(labels)
  flat = mtl.tasks.classification("kind", 3).loss(logits.reshape(6, 3), {"kind": jnp.array([0, 2, 0, 1, 0, 0])})
  np.testing.assert_array_equal(weights, [[1, 1, 0], [1, 0, 0]])
  np.testing.assert_allclose(losses * weights, flat.reshape(2, 3) * weights, rtol=1e-6)
  task.check("t", {"kind": np.asarray(labels["kind"])})
  states = {name: metric.update(logits, labels["kind"], weights) for name, metric in task.metrics.items()}
  right = (np.argmax(logits, axis=-1) == labels["kind"])[np.asarray(weights) > 0]
  assert task.metrics["accuracy"].compute(states["accuracy"]) == pytest.approx(right.mean())
  with pytest.raises(mtl.UserError, match="ranges over"):
    task.check("t", {"kind": np.array([[0, 3]])})
