"""Mean average precision: figures of COCO's own program, degenerate cases, and that program itself if installed."""

import contextlib
import io

import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.tasks.metrics import mean_average_precision

CLASSES = 3
BOX = np.array([0.1, 0.1, 0.5, 0.5], np.float32)


def random_case(seed, decimals=None):
  """Six images, detections near their boxes and elsewhere; rounded scores and boxes on a grid make ties."""
  rng = np.random.default_rng(seed)

  def boxes(*shape):
    low, size = rng.uniform(0, 0.8, (*shape, 2)), rng.uniform(0.05, 0.4, (*shape, 2))
    if decimals is not None:
      low, size = np.round(low * 16) / 16, np.maximum(np.round(size * 16), 1) / 16
    return np.concatenate([low, low + size], axis=-1).astype(np.float32)

  true = {"boxes": boxes(6, 7), "class": rng.integers(-1, CLASSES, (6, 7))}
  source, is_near = rng.integers(0, 7, (6, 20)), rng.uniform(size=(6, 20)) < 0.7
  shift = 0 if decimals is not None else rng.normal(scale=0.02, size=(6, 20, 4))
  near = np.take_along_axis(true["boxes"], source[..., None], 1) + shift
  found = np.where(is_near[..., None], near, boxes(6, 20)).astype(np.float32)
  found[..., 2:] = np.maximum(found[..., 2:], found[..., :2] + np.float32(0.01))
  kinds = np.where(is_near, np.take_along_axis(true["class"], source, 1), rng.integers(-1, CLASSES, (6, 20)))
  score = rng.uniform(size=(6, 20)).astype(np.float32)
  return {"boxes": found, "class": kinds, "score": score if decimals is None else np.round(score, decimals)}, true


def no_boxes_in_some(found, true):
  true["class"][:2] = -1


def no_detections_in_some(found, true):
  found["class"][1:4] = -1


def one_class_without_boxes(found, true):
  true["class"][true["class"] == 1] = -1


def all_missed(found, true):
  found["boxes"] = np.broadcast_to(np.array([0.99, 0.99, 1, 1], np.float32), found["boxes"].shape)


def nothing_found(found, true):
  found["class"][:] = -1


CASES = {
  "random": (0, None, None),
  "ties": (1, 1, None),
  "no boxes in some": (2, None, no_boxes_in_some),
  "no detections in some": (3, None, no_detections_in_some),
  "one class without boxes": (4, None, one_class_without_boxes),
  "all missed": (5, None, all_missed),
  "nothing found": (6, None, nothing_found),
}
# of pycocotools 2.0.11 and, to the last digit, faster-coco-eval 1.8.0: at an overlap of 0.5, and COCO's mean
GOLDEN: dict[str, tuple[float, float]] = {
  "random": (0.502692, 0.237990),
  "ties": (0.503155, 0.503155),
  "no boxes in some": (0.366973, 0.181265),
  "no detections in some": (0.220297, 0.103677),
  "one class without boxes": (0.340793, 0.188064),
  "all missed": (0.000000, 0.000000),
  "nothing found": (0.000000, 0.000000),
}


def case(name):
  seed, decimals, change = CASES[name]
  found, true = random_case(seed, decimals)
  if change is not None:
    change(found, true)
  return found, true


def value(metric, found, true, weights=None):
  return metric.compute(metric.update(found, true, np.ones(len(true["class"])) if weights is None else weights))


@pytest.mark.parametrize("name", list(CASES))
def test_figures_of_cocos_program(name):
  found = [value(metric, *case(name)) for metric in (mean_average_precision(overlaps=[0.5]), mean_average_precision())]
  np.testing.assert_allclose(found, GOLDEN[name], atol=1e-6)


def annotations(boxes, kinds, scores=None):
  """In COCO's format."""
  found = []
  for (image, place), kind in np.ndenumerate(kinds):
    if kind >= 0:
      x0, y0, x1, y1 = map(float, boxes[image, place])
      one = {"id": len(found) + 1, "image_id": image + 1, "category_id": int(kind) + 1}
      one |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
      found.append(one if scores is None else {**one, "score": float(scores[image, place])})
  return found


def by_program(found, true, overlaps):
  coco_eval = pytest.importorskip("faster_coco_eval")
  with contextlib.redirect_stdout(io.StringIO()):
    images = [{"id": i + 1, "width": 1, "height": 1} for i in range(len(true["class"]))]
    categories = [{"id": kind + 1, "name": str(kind)} for kind in range(CLASSES)]
    dataset = {"info": {}, "images": images, "categories": categories}
    truth = coco_eval.COCO({**dataset, "annotations": annotations(true["boxes"], true["class"])})
    guesses = truth.loadRes(annotations(found["boxes"], found["class"], found["score"]))
    run = coco_eval.COCOeval_faster(truth, guesses, "bbox")
    run.params.iouThrs = np.asarray(overlaps)
    run.evaluate()
    run.accumulate()
  precision = np.asarray(run.eval["precision"])[:, :, :, 0, -1]
  return precision[precision > -1].mean()


@pytest.mark.parametrize("name", [name for name in CASES if name != "nothing found"])  # which the program refuses
def test_exactly_as_cocos_program_where_it_is_installed(name):
  for overlaps in ([0.5], np.linspace(0.5, 0.95, 10).tolist()):
    found, true = case(name)
    want = by_program(found, true, overlaps)
    assert value(mean_average_precision(overlaps=overlaps), found, true) == pytest.approx(want, abs=1e-12)


def one_image(boxes, kinds, scores=None):
  found = {"boxes": np.array([boxes], np.float32), "class": np.array([kinds])}
  return found if scores is None else {**found, "score": np.array([scores], np.float32)}


def test_by_hand():
  """Right, wrong, right: precision is 1 up to half of the recall, then 2/3."""
  far = BOX + np.float32(0.45)
  found = one_image([BOX, BOX, far], [0, 0, 0], [0.9, 0.8, 0.7])
  true = one_image([BOX, far], [0, 0])
  assert value(mean_average_precision(overlaps=[0.5]), found, true) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_without_any_box_there_is_no_figure():
  found, true = one_image([BOX], [0], [0.9]), one_image([BOX], [-1])
  assert np.isnan(value(mean_average_precision(), found, true))


def test_images_of_weight_zero_do_not_count():
  found, true = case("random")
  weights = np.array([1, 1, 1, 0, 2, 0.5])
  some = [{key: values[weights > 0] for key, values in one.items()} for one in (found, true)]
  assert value(mean_average_precision(), found, true, weights) == value(mean_average_precision(), *some)


@pytest.mark.parametrize("overlaps", [[], [0.0], [0.5, 1.5]])
def test_overlaps_out_of_range(overlaps):
  with pytest.raises(mtl.UserError, match=r"expected numbers in \(0, 1\]"):
    mean_average_precision(overlaps=overlaps)
