"""Detection: targets and loss against loops, detections of a map that says what it should, and what users are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.tasks import _centres
from mtl_jax.tasks.loss import masked_mean

SHAPE, CLASSES = (6, 8), 3
BOXES = np.array(
  [
    [[0.1, 0.1, 0.7, 0.8], [0.15, 0.3, 0.4, 0.55], [0, 0, 0, 0]],  # the second inside of the first
    [[0.0, 0.5, 0.3, 1.0], [0, 0, 0, 0], [0, 0, 0, 0]],
    np.zeros((3, 4)),
  ],
  np.float32,
)
KINDS = np.array([[0, 2, -1], [1, -1, -1], [-1, -1, -1]], np.int32)
BATCH = {"kinds": KINDS, "boxes": BOXES}
PREDICTION = np.random.default_rng(0).normal(size=(3, *SHAPE, CLASSES + 4)).astype(np.float32)


def gaussian(box, row, column):
  """How much a cell belongs to a box."""
  found = 1.0
  for low, high, place, size in ((box[0], box[2], column, SHAPE[1]), (box[1], box[3], row, SHAPE[0])):
    centre, reach = int((low + high) / 2 * size), int(0.54 * (high - low) * size / 2)
    found *= np.exp(-(((place - centre) / ((2 * reach + 1) / 6)) ** 2) / 2) * (abs(place - centre) <= reach)
  return found


def area(box):
  return (box[2] - box[0]) * (box[3] - box[1])


def expected_targets(boxes, kinds):
  heat, aims, weights = np.zeros((*SHAPE, CLASSES)), np.zeros((*SHAPE, 4)), np.zeros(SHAPE)
  owners, objects = np.full(SHAPE, -1), [i for i in range(len(kinds)) if kinds[i] >= 0]
  for row, column in np.ndindex(SHAPE):
    strengths = {i: gaussian(boxes[i], row, column) for i in objects}
    for i in objects:
      heat[row, column, kinds[i]] = max(heat[row, column, kinds[i]], strengths[i])
    claims = [i for i in objects if strengths[i] > 0]
    if claims:
      owner = min(claims, key=lambda i: area(boxes[i]))
      owners[row, column], weights[row, column], aims[row, column] = owner, strengths[owner], boxes[owner]
  for i in objects:
    weights[owners == i] /= weights[owners == i].sum()
  return heat, aims, weights


@pytest.fixture(scope="module")
def task():
  return mtl.tasks.detection("kinds", CLASSES, most=10, classes=("cat", "dog", "cow"))


@pytest.mark.slow
def test_targets():
  found = _centres.targets(jnp.asarray(BOXES), jnp.asarray(KINDS), SHAPE, CLASSES)
  for i in range(3):
    heat, aims, weights = expected_targets(BOXES[i], KINDS[i])
    np.testing.assert_allclose(found.heat[i], heat, atol=1e-5)
    np.testing.assert_allclose(found.weights[i], weights, atol=1e-5)
    claimed = weights > 0
    np.testing.assert_allclose(found.boxes[i][claimed], aims[claimed], atol=1e-6)
  np.testing.assert_allclose(found.weights.sum(axis=(1, 2)), [2, 1, 0], rtol=1e-5)
  assert (found.heat == 1).sum(axis=(1, 2, 3)).tolist() == [2, 1, 0]


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def expected_loss(prediction, boxes, kinds):
  heat, aims, weights = expected_targets(boxes, kinds)
  p = sigmoid(prediction[..., :CLASSES])
  total = -np.where(heat > 1 - 1e-6, (1 - p) ** 2 * np.log(p), (1 - heat) ** 4 * p**2 * np.log(1 - p)).sum()
  for row, column in np.ndindex(SHAPE):
    left, up, right, down = np.exp(prediction[row, column, CLASSES:])
    one, other = np.array([column + 0.5 - left, row + 0.5 - up, column + 0.5 + right, row + 0.5 + down]), None
    other = aims[row, column] * np.array([SHAPE[1], SHAPE[0], SHAPE[1], SHAPE[0]])
    inner = np.prod(np.maximum(np.minimum(one, other)[2:] - np.maximum(one, other)[:2], 0))
    hull = np.prod(np.maximum(one, other)[2:] - np.minimum(one, other)[:2])
    union = area(one) + area(other) - inner
    total += 5 * weights[row, column] * (1 - inner / union + (hull - union) / hull)
  return total / max((kinds >= 0).sum(), 1)


def test_loss(task):
  want = [expected_loss(*one) for one in zip(PREDICTION, BOXES, KINDS, strict=True)]
  np.testing.assert_allclose(task.loss(PREDICTION, BATCH), want, rtol=1e-4)


@pytest.mark.slow
def test_the_loss_of_a_batch_is_per_object_however_it_is_cut(task):
  """Sums over images and objects of the pieces give that of the whole; an image without objects counts as one."""
  losses = np.array([expected_loss(*one) for one in zip(PREDICTION, BOXES, KINDS, strict=True)])
  want = (losses * [2, 1, 1]).sum() / 4
  np.testing.assert_allclose(masked_mean("objects", task, PREDICTION, BATCH), want, rtol=1e-4)
  twice = {key: np.concatenate([value, value]) for key, value in BATCH.items()}
  whole = masked_mean("objects", task, np.concatenate([PREDICTION, PREDICTION]), twice)
  np.testing.assert_allclose(whole, want, rtol=1e-4)


@pytest.mark.slow
def test_masked_images_may_hold_anything():
  task = mtl.tasks.detection("kinds", CLASSES, mask="seen", weight="w")
  batch = {"kinds": KINDS, "boxes": np.where([[[False]], [[True]], [[False]]], np.nan, BOXES)}
  batch |= {"seen": np.array([True, False, True]), "w": np.array([1.0, 1.0, 0.5], np.float32)}
  loss, gradient = jax.value_and_grad(lambda p: masked_mean("objects", task, p, batch))(PREDICTION)
  first, last = (expected_loss(PREDICTION[i], BOXES[i], KINDS[i]) for i in (0, 2))
  np.testing.assert_allclose(loss, (2 * first + 0.5 * last) / 2.5, rtol=1e-4)
  assert jnp.isfinite(gradient).all() and not gradient[1].any() and gradient[0].any()
  task.check("objects", batch)


def perfect(boxes, kinds):
  """A map that says where the objects are."""
  found = np.full((len(boxes), *SHAPE, CLASSES + 4), -9, np.float32)
  for image, (own, of_own) in enumerate(zip(boxes, kinds, strict=True)):
    for box, kind in zip(own, of_own, strict=True):
      if kind >= 0:
        x0, y0, x1, y1 = box * (SHAPE[1], SHAPE[0], SHAPE[1], SHAPE[0])
        row, column = int((y0 + y1) / 2), int((x0 + x1) / 2)
        found[image, row, column, kind] = 5
        found[image, row, column, CLASSES:] = np.log(
          [column + 0.5 - x0, row + 0.5 - y0, x1 - column - 0.5, y1 - row - 0.5]
        )
  return found


@pytest.mark.slow
def test_a_map_that_says_it_is_read_and_scores_one(task):
  prediction = perfect(BOXES, KINDS)
  outputs = jax.jit(task.output)(prediction)
  assert outputs["boxes"].shape == (3, 10, 4)
  assert [sorted(kinds[score > 0.5]) for kinds, score in zip(outputs["class"], outputs["score"], strict=True)] == [
    [0, 2],
    [1],
    [],
  ]
  for metric in task.metrics.values():
    assert metric.compute(metric.update(prediction, task.label(BATCH), np.ones(3))) == pytest.approx(1)
  assert task.main_metric == "map50"
  assert task.loss(prediction, BATCH)[1] < task.loss(PREDICTION, BATCH)[1] / 20


def test_records_and_pictures_show_what_is_sure_enough(task):
  outputs = {name: np.asarray(values[1]) for name, values in task.output(perfect(BOXES, KINDS)).items()}
  (found,) = task.record(outputs)
  assert found["class"] == "dog" and found["score"] == pytest.approx(sigmoid(5), abs=1e-4)
  np.testing.assert_allclose(found["box"], BOXES[1, 0], atol=1e-3)
  figure = pytest.importorskip("matplotlib.figure").Figure()
  axes = figure.subplots()
  axes.imshow(np.zeros((12, 16)))
  task.draw(axes, outputs)
  (box,), (text,) = axes.patches, axes.texts
  np.testing.assert_allclose(box.get_bbox().extents, [-0.5, 5.5, 4.3, 11.5], atol=1e-2)
  assert text.get_text() == "dog 0.99"


GOOD = {"kinds": KINDS, "boxes": BOXES}


def with_box(*box):
  boxes = BOXES.copy()
  boxes[0, 1] = box
  return {**GOOD, "boxes": boxes}


@pytest.mark.parametrize(
  "arrays, message",
  [
    (with_box(0.2, 0.2, 1.5, 0.4), r"'boxes' has a box outside of the image in example 0, box 1: \(0.2, 0.2, 1.5, 0.4"),
    (with_box(0.5, 0.2, 0.4, 0.4), "a box without area in example 0, box 1: .*exchange the corners"),
    (with_box(0.5, np.nan, 0.6, 0.4), "a box that is not finite in example 0, box 1"),
    ({**GOOD, "kinds": np.where(KINDS == 2, 3, KINDS)}, r"holds class 3 in example 0, expected \[0, 2\], or -1"),
    ({**GOOD, "kinds": np.where(KINDS < 0, -2, KINDS)}, "holds class -2 in example 0"),
    ({**GOOD, "kinds": KINDS.astype(np.float32)}, "has dtype float32, expected integers"),
    ({**GOOD, "boxes": BOXES[:, :2]}, r"has shape \(3, 3\) and 'boxes' \(3, 2, 4\), expected .*pad_objects"),
    ({"kinds": KINDS}, "'objects'.* 'boxes', only 'kinds'"),
  ],
)
def test_labels_that_cannot_be_used(task, arrays, message):
  with pytest.raises(mtl.UserError, match=message) as error:
    task.check("objects", arrays)
  assert "'objects'" in str(error.value) and "\n" not in str(error.value)


def test_images_without_objects_are_fine(task):
  task.check("objects", {"kinds": np.full((2, 3), -1), "boxes": np.full((2, 3, 4), np.nan)})


@pytest.mark.parametrize(
  "options, message",
  [
    ({"num_classes": 0}, "num_classes is 0"),
    ({"classes": ("a",)}, "1 names, expected num_classes = 3"),
    ({"most": 0}, "most 0"),
    ({"threshold": 1.0}, "threshold 1.0"),
  ],
)
def test_options_out_of_range(options, message):
  with pytest.raises(mtl.UserError, match=message):
    mtl.tasks.detection(**{"label": "kinds", "num_classes": 3, **options})


def test_a_head_of_another_shape(task):
  with pytest.raises(mtl.UserError, match=r"has shape \(3, 7\), expected a map \(B, h, w, 7\)"):
    task.loss(jnp.zeros((3, 7)), BATCH)
  with pytest.raises(mtl.UserError, match=r"label 'kinds' have shape \(3, 3\), expected \(3,\), one per image"):
    by_object = mtl.tasks.detection("kinds", CLASSES, mask="seen")
    by_object.mask({**BATCH, "seen": np.ones((3, 3))})
