"""Mean average precision of detected boxes, as the COCO benchmark defines it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.tasks.metrics.collected import collected
from mtl_jax.tasks.metrics.metric import Metric

COCO = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""The overlaps of COCO's main figure."""
_RECALLS = np.linspace(0, 1, 101)
_MOST = 100  # detections per image and class


def mean_average_precision(
  detect: Callable[[Any], Mapping[str, Any]] = lambda prediction: prediction, overlaps: Sequence[float] = COCO
) -> Metric:
  r"""The area under the curve of precision over recall, its mean over classes and overlaps.

  $$ mAP = \frac{1}{|C| |O|} \sum_{c, o} \frac{1}{101} \sum_{r \in \{0, 0.01, ..., 1\}}
     \max_{r' \ge r} precision_{c, o}(r') $$

  In each image detections of a class, best first, take the free box of that class with which they overlap most; they
  are right if the intersection over union is at least o. As in COCO's own program, at most 100 detections per image and
  class count, and classes without any box are left out of the mean. Images of weight 0 are left out, others count
  alike.

  Args:
    detect: `detect(prediction)`, `boxes` (B, k, 4), `class` (B, k), -1 for none, and `score` (B, k). The label has
      `boxes` (B, K, 4) and `class` (B, K), -1 for padding.
    overlaps: The values of o, in (0, 1]; by default COCO's 0.5, 0.55, ..., 0.95.

  Returns:
    The metric, NaN where no image has a box.

  Raises:
    UserError: An overlap is out of range.

  >>> metric = mean_average_precision(overlaps=[0.5])
  >>> box = np.array([[[0.1, 0.1, 0.5, 0.5]]])
  >>> found = {"boxes": box, "class": np.array([[2]]), "score": np.array([[0.9]])}
  >>> state = metric.update(found, {"boxes": box, "class": np.array([[2]])}, np.ones(1))
  >>> round(metric.compute(state), 6)
  1.0

  References:
    Lin et al., *Microsoft COCO: Common Objects in Context*, ECCV 2014; its program `cocoeval`.
  """
  wrong = [o for o in overlaps if not 0 < o <= 1]
  if wrong or not len(overlaps):
    raise UserError(f"mean_average_precision: overlaps are {tuple(overlaps)}, expected numbers in (0, 1].")
  least = np.minimum(np.asarray(overlaps), 1 - 1e-10)

  def compute(found, true, weights):
    classes = [c for c in np.unique(true["class"]) if c >= 0]
    return np.mean([_of_class(int(c), found, true, least) for c in classes]) if classes else np.nan

  return collected(compute, score=detect)


def _of_class(kind: int, found: Mapping[str, Any], true: Mapping[str, Any], least: np.ndarray) -> float:
  """The mean over overlaps of the average precision of one class."""
  scores, hits = [], []
  for boxes, classes, score, true_boxes, true_classes in zip(
    found["boxes"], found["class"], found["score"], true["boxes"], true["class"], strict=True
  ):
    chosen = np.flatnonzero(classes == kind)
    chosen = chosen[np.argsort(-score[chosen], kind="stable")][:_MOST]
    scores.append(score[chosen])
    hits.append(_hits(boxes[chosen], true_boxes[true_classes == kind], least))
  order = np.argsort(-np.concatenate(scores), kind="stable")
  right = np.cumsum(np.concatenate(hits, axis=1)[:, order], axis=1)  # (overlaps, detections)
  recall = right / np.count_nonzero(true["class"] == kind)
  precision = np.maximum.accumulate((right / np.arange(1, len(order) + 1))[:, ::-1], axis=1)[:, ::-1]
  reached = [np.append(p, 0)[np.searchsorted(r, _RECALLS)] for p, r in zip(precision, recall, strict=True)]
  return float(np.mean(reached))


def _hits(boxes: np.ndarray, true: np.ndarray, least: np.ndarray) -> np.ndarray:
  """Whether each of the boxes (n, 4), best first, is right by each of the overlaps: booleans (overlaps, n)."""
  hits = np.zeros((len(least), len(boxes)), bool)
  if not len(true):
    return hits
  free, rows = np.ones((len(least), len(true)), bool), np.arange(len(least))
  for i, iou in enumerate(_overlaps(boxes, true)):
    open_to = np.where(free, iou, -1)
    match = len(true) - 1 - np.argmax(open_to[:, ::-1], axis=1)  # of equals the last, as in COCO's program
    hits[:, i] = open_to[rows, match] >= least
    free[rows, match] &= ~hits[:, i]
  return hits


def _overlaps(boxes: np.ndarray, true: np.ndarray) -> np.ndarray:
  """Intersections over unions, (n, m), in double precision."""
  one, other = boxes[:, None].astype(np.float64), true[None].astype(np.float64)
  inner = np.prod(
    np.maximum(np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2]), 0), -1
  )
  union = np.prod(one[..., 2:] - one[..., :2], -1) + np.prod(other[..., 2:] - other[..., :2], -1) - inner
  return np.where(union > 0, inner / np.where(union > 0, union, 1), 0)
