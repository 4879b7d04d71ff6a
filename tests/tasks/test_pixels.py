"""Segmentation, depth and normals: losses and metrics against numpy and scikit-learn, what is ignored, errors."""

import json

import jax
import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as reference

import mtl_jax as mtl

SIZE, SHAPE, CLASSES = 3, (3, 4, 5), 4
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(*SHAPE, CLASSES)).astype(np.float32)
KINDS = RNG.integers(-1, CLASSES, SHAPE).astype(np.int32)
METRES = (RNG.uniform(1, 9, SHAPE) * (RNG.random(SHAPE) < 0.8)).astype(np.float32)
GUESS = RNG.normal(size=SHAPE).astype(np.float32)
VECTORS = (RNG.normal(size=(*SHAPE, 3)) * (RNG.random(SHAPE) < 0.8)[..., None]).astype(np.float32)
ARROWS = RNG.normal(size=(*SHAPE, 3)).astype(np.float32)
MASK = (RNG.random(SHAPE) < 0.7).astype(np.float32)

segmentation = mtl.tasks.segmentation("y", CLASSES)
depth = mtl.tasks.depth("y", mean=4.0, std=2.0)
normals = mtl.tasks.normals("y")


def scores(task, prediction, y, cuts=(0, 1, SIZE), **batch):
  """All metrics, from the states of parts of the batch."""
  batch = {"y": y, **batch}
  weight = np.asarray(task.mask(batch))
  found = {}
  for name, metric in task.metrics.items():
    states = [metric.update(prediction[a:b], y[a:b], weight[a:b]) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
    found[name] = float(metric.compute(metric.merge(states)))
  return found


def mean_loss(task, prediction, y, **batch):
  return float(mtl.tasks.loss.masked_mean("pixels", task, prediction, {"y": y, **batch}))


def angles(a, b):
  cosines = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
  return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("ignore", [-1, 255])
def test_segmentation(ignore):
  y = KINDS if ignore == -1 else np.where(KINDS < 0, 255, KINDS).astype(np.uint8)
  task, counted = mtl.tasks.segmentation("y", CLASSES, ignore=ignore), KINDS >= 0
  p = softmax(LOGITS.astype(float), axis=-1)
  want = reference.log_loss(KINDS[counted], p[counted], labels=range(CLASSES))
  assert mean_loss(task, LOGITS, y) == pytest.approx(want, rel=1e-5)
  found = scores(task, LOGITS, y)
  decided = LOGITS.argmax(-1)
  assert found["miou"] == pytest.approx(reference.jaccard_score(KINDS[counted], decided[counted], average="macro"))
  assert found["pixel_accuracy"] == pytest.approx((decided == KINDS)[counted].mean())
  assert task.main_metric == "miou" and task.higher_is_better


def test_a_class_that_is_nowhere_is_left_out_and_ignored_pixels_alone_give_nan():
  one = np.where(KINDS < 0, -1, 0)
  logits = np.eye(CLASSES, dtype=np.float32)[np.where(np.arange(5) < 2, 0, 2)] * np.ones((3, 4, 1, 1), np.float32)
  hit = (one[..., :2] == 0).sum() / (one == 0).sum()
  assert scores(segmentation, logits, one)["miou"] == pytest.approx(hit / 2)  # classes 0 and 2
  none = np.full(SHAPE, -1)
  assert all(np.isnan(value) for value in scores(segmentation, LOGITS, none).values())
  assert mean_loss(segmentation, LOGITS, none) == 0


def test_class_weights_are_factors():
  factors = [1.0, 0.0, 3.0, 2.0]
  weighted = mtl.tasks.segmentation("y", CLASSES, class_weights=factors)
  batch = {"y": KINDS}
  ratio = np.asarray(weighted.loss(LOGITS, batch)) / np.asarray(segmentation.loss(LOGITS, batch))
  np.testing.assert_allclose(ratio[KINDS >= 0], np.array(factors)[KINDS[KINDS >= 0]], rtol=1e-5)


def test_depth():
  known = METRES > 0
  metres = 4 + 2 * GUESS
  error = np.abs(metres - METRES)[known]
  assert mean_loss(depth, GUESS[..., None], METRES) == pytest.approx(error.mean() / 2, rel=1e-5)
  found = scores(depth, GUESS[..., None], METRES)
  assert found["abs_error"] == pytest.approx(error.mean(), rel=1e-5)
  assert found["rel_error"] == pytest.approx((error / METRES[known]).mean(), rel=1e-5)
  assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
  assert depth.main_metric == "abs_error" and not depth.higher_is_better
  np.testing.assert_allclose(depth.output(GUESS)["depth"], metres, rtol=1e-6)
  nan = mtl.tasks.depth("y", float("nan"), mean=4.0, std=2.0)
  unknown = np.where(known, METRES, np.nan).astype(np.float32)
  assert scores(nan, GUESS, unknown) == pytest.approx(found)
  nan.check("far", {"y": unknown})


@pytest.mark.slow
def test_normals():
  known = (VECTORS != 0).any(-1)
  angle = angles(ARROWS, np.where(known[..., None], VECTORS, 1))[known]
  assert mean_loss(normals, ARROWS, VECTORS) == pytest.approx((1 - np.cos(np.radians(angle))).mean(), rel=1e-5)
  found = scores(normals, ARROWS, VECTORS)
  assert found["mean_angle"] == pytest.approx(angle.mean(), rel=1e-5)
  lower, upper = np.sort(angle)[[(len(angle) - 1) // 2, len(angle) // 2]]
  assert lower - 0.1 <= found["median_angle"] <= upper + 0.1
  for bound, name in ((11.25, "within_11_25"), (22.5, "within_22_5"), (30, "within_30")):
    assert found[name] == pytest.approx((angle < bound).mean(), abs=1e-6)
  assert normals.main_metric == "mean_angle" and not normals.higher_is_better
  # Nearly the same direction, where an arc cosine in float32 would be wrong by half.
  near = np.float32([[[[0, 0, 1]]]]), np.float32([[[[0, 1e-4, 1]]]])
  assert scores(normals, *near, cuts=(0, 1))["mean_angle"] == pytest.approx(np.degrees(1e-4), rel=1e-3)


def test_the_median_is_that_of_weights():
  rng = np.random.default_rng(2)
  metric = mtl.tasks.metrics.median(lambda p, y: p, most=10.0, bins=1000)
  values, times = rng.uniform(0, 10, 400).astype(np.float32), rng.integers(0, 5, 400)
  found = float(metric.compute(metric.update(values, None, times)))
  assert found == pytest.approx(np.median(np.repeat(values, times)), abs=0.02)
  assert np.isnan(metric.compute(metric.update(values, None, 0 * times)))
  values[3] = np.nan
  assert np.isnan(metric.compute(metric.update(values, None, times + 1)))
  with pytest.raises(mtl.UserError, match=r"a median has values of shape \(400,\), but weights of shape \(20,\)"):
    metric.update(values, None, times[:20])


CASES = {
  "segmentation": (mtl.tasks.segmentation, (CLASSES,), LOGITS, KINDS, -7),
  "depth": (mtl.tasks.depth, (), GUESS, METRES, np.nan),
  "normals": (mtl.tasks.normals, (), ARROWS, VECTORS, np.nan),
}


@pytest.mark.parametrize("family", CASES)
@pytest.mark.parametrize("kind", ["mask", "weight"])
@pytest.mark.parametrize("axes", [1, 3])
def test_what_does_not_count_may_hold_anything(family, kind, axes):
  """Of one example, or of single pixels: losses, metrics and gradients are those of the rest."""
  make, options, prediction, y, dirt = CASES[family]
  task, plain = make("y", *options, **{kind: "m"}), make("y", *options)
  mask = MASK if axes == 3 else np.float32([1, 0, 1])
  off = np.broadcast_to(mask.reshape(mask.shape + (1,) * (3 - axes)), SHAPE) == 0
  none = {"segmentation": -1, "depth": 0, "normals": 0}[family]
  dirty, clean = y.copy(), y.copy()
  dirty[off], clean[off] = dirt, none
  task.check("t", {"y": dirty, "m": mask})

  @jax.jit
  def both(prediction):
    def loss(task, y):
      return jax.value_and_grad(lambda p: mtl.tasks.loss.masked_mean("t", task, p, {"y": y, "m": mask}))(prediction)

    return loss(task, dirty), loss(plain, clean)

  (found, gradient), (want, expected) = both(prediction)
  np.testing.assert_allclose(found, want, rtol=1e-6)
  np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)
  assert scores(task, prediction, dirty, m=mask) == pytest.approx(scores(plain, prediction, clean), rel=1e-5)


def test_what_is_written_and_drawn_of_predictions(tmp_path):
  named = mtl.tasks.segmentation("y", CLASSES, classes=["wall", "bed", "lamp", "tv"])
  outputs = [
    jax.tree.map(lambda leaf: np.asarray(leaf)[0], task.output(prediction))
    for task, prediction in ((named, LOGITS), (depth, GUESS), (normals, ARROWS))
  ]
  shares, range_, direction = (
    json.loads(json.dumps(task.record(own))) for task, own in zip((named, depth, normals), outputs, strict=True)
  )
  counts = np.bincount(LOGITS[0].argmax(-1).ravel(), minlength=CLASSES) / 20
  assert shares == pytest.approx(dict(zip(["wall", "bed", "lamp", "tv"], counts, strict=True)))
  assert [*shares.values()] == sorted(shares.values(), reverse=True)
  assert [*range_] == ["min", "median", "max"] and range_["min"] == pytest.approx((4 + 2 * GUESS[0]).min(), abs=1e-4)
  assert len(direction["mean"]) == 3
  figure = pytest.importorskip("matplotlib.figure").Figure()
  for task, own, axes in zip((named, depth, normals), outputs, figure.subplots(1, 3), strict=True):
    axes.imshow(np.zeros((8, 10, 3)))
    task.draw(axes, own)
    base, drawn = axes.get_images()
    assert base.get_extent() == drawn.get_extent() and drawn.get_array().shape[:2] == SHAPE[1:]
  figure.savefig(tmp_path / "drawn.png")


@pytest.mark.parametrize(
  ("task", "y", "line"),
  [
    (segmentation, np.zeros((3, 4)), r"label 'y' has shape \(3, 4\), expected \(N, H, W\)"),
    (segmentation, KINDS.astype(np.float32), "has dtype float32, expected integers"),
    (segmentation, np.where(KINDS == 2, 4, KINDS), r"holds 4 in example 0, expected classes in \[0, 3\], and -1"),
    (segmentation, np.full(SHAPE, -1), "label 'y' is missing everywhere: leave the task out"),
    (segmentation, np.full(SHAPE, "wall"), "holds words such as 'wall', expected numbers"),
    (depth, METRES[..., None], r"label 'y' has shape \(3, 4, 5, 1\), expected \(N, H, W\)"),
    (depth, np.where(METRES > 0, -METRES, 0), "holds -.* in example 0, expected depth above 0 and finite, and 0.0 wh"),
    (depth, np.where(METRES > 0, np.nan, 0), "NaN values, the first in example 0: set mask="),
    (normals, VECTORS[..., :2], r"label 'y' has shape \(3, 4, 5, 2\), expected \(N, H, W, 3\)"),
    (normals, np.ones((*SHAPE, 3), int), "has dtype int64, expected floats"),
    (normals, np.where(VECTORS > 0, np.inf, VECTORS), "has an infinite value in example 0"),
  ],
)
def test_labels_that_are_refused(task, y, line):
  with pytest.raises(mtl.UserError, match=f"task 'rooms': .*{line}") as error:
    task.check("rooms", {"y": y})
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("task", "prediction", "y", "line"),
  [
    (segmentation, LOGITS[:, :2], KINDS, r"label 'y' has shape \(3, 2, 5, 4\), expected \(3, 4, 5, 4\): logits"),
    (segmentation, LOGITS, KINDS.astype(np.float32), "label 'y' has dtype float32, expected integers"),
    (depth, GUESS[:, :2], METRES, r"shape \(3, 2, 5\), expected \(3, 4, 5\) or \(3, 4, 5, 1\)"),
    (normals, ARROWS[..., :2], VECTORS, r"shape \(3, 4, 5, 2\) and the label \(3, 4, 5, 3\), expected a vector"),
  ],
)
def test_predictions_of_another_size(task, prediction, y, line):
  with pytest.raises(mtl.UserError, match=line):
    task.loss(prediction, {"y": y})


@pytest.mark.parametrize(
  ("make", "line"),
  [
    (lambda: mtl.tasks.segmentation("y", 1), "segmentation of 'y': num_classes is 1, expected at least 2"),
    (lambda: mtl.tasks.segmentation("y", 3, classes=["a"]), r"classes are \['a'\], expected 3 names"),
    (lambda: mtl.tasks.segmentation("y", 3, class_weights=[1]), r"segmentation of 'y': class_weights are \[1\]"),
    (lambda: mtl.tasks.depth("y", std=0.0), "depth of 'y': mean is 0.0 and std 0.0, expected finite numbers"),
    (lambda: mtl.tasks.metrics.median(lambda p, y: p, most=0.0), "median: most is 0.0 and bins 1800"),
  ],
)
def test_options_out_of_range(make, line):
  with pytest.raises(mtl.UserError, match=line):
    make()
