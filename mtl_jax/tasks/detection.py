"""Detection: the objects in an image, each a class and a box."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.tasks import _box_labels, _boxes, _centres, _weights
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._labels import read
from mtl_jax.tasks._task import Task


def detection(
  label: str,
  num_classes: int,
  *,
  boxes: str = "boxes",
  mask: str | None = None,
  weight: str | None = None,
  box_weight: float = 5.0,
  most: int = 100,
  overlap_limit: float = 0.5,
  threshold: float = 0.3,
  classes: Sequence[str] = (),
) -> Task:
  r"""Objects by a map of cells: each tells of which class an object has its centre there, and where its sides are.

  $$ \ell_b = \frac{1}{\max(n_b, 1)} \Big( -\sum_{ijc} \begin{cases} (1 - p_{ijc})^2 \log p_{ijc} & g_{ijc} = 1 \\
     (1 - g_{ijc})^4 p_{ijc}^2 \log(1 - p_{ijc}) & \text{else} \end{cases}
     + \lambda \sum_{ij} v_{ij} (1 - GIoU_{ij}) \Big) $$

  with $p = \sigma(\hat y)$, Gaussians g at the centres of the $n_b$ objects, and weights v that are 1 in sum for each
  of them. The task's loss is $\sum_b w_b m_b \ell_b / \sum_b w_b m_b$ over the batch, with $m_b = \max(n_b, 1)$ and w
  the product of mask and weight: the sum over the batch per object in it, however the batch is cut.

  Args:
    label: The key of the objects' classes in the batch, (B, K) integers in [0, num_classes), and -1 where an image has
      fewer than K objects.
    num_classes: The number C of classes. Predictions are maps (B, h, w, C + 4): logits of the classes, then logarithms
      of the distances from a cell's centre to the left, upper, right and lower side of its box, in cells.
    boxes: The key of their boxes, (B, K, 4) as (x0, y0, x1, y1) in fractions of width and height, (0, 0) being the
      upper left corner. `mtl.data.pad_objects` makes both arrays of lists.
    mask: The key of the labels' mask, (B,) in [0, 1], 0 where nobody has looked for objects; None: all are labelled.
      An image without objects is labelled, all -1.
    weight: The key of any weights of the images, (B,) at least 0; None: ones.
    box_weight: $\lambda$.
    most: The number k of detections that outputs hold for each image.
    overlap_limit: Of two detections of one class with a greater intersection over union the worse one is dropped.
    threshold: The score from which on `mtl-jax predict` writes and draws a detection.
    classes: The names of the classes; empty: their numbers.

  Returns:
    The task, with the metrics map50 (main), the mean average precision at an overlap of 0.5, and map, that of COCO.
    Outputs are `boxes` (B, k, 4), `class` (B, k), -1 behind the last detection, and `score` (B, k), best first.

  Raises:
    UserError: An option is out of range.

  >>> task = detection("kinds", 2)
  >>> batch = {"kinds": jnp.array([[1, -1]]), "boxes": jnp.array([[[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0]]])}
  >>> prediction = jnp.full((1, 2, 4, 6), -4.0).at[0, 1, 1].set([-4.0, 4.0, 0.4, 0.4, -0.7, -0.7])
  >>> task.output(prediction)["class"][0, 0].item(), task.output(prediction)["boxes"][0, 0].round(2).tolist()
  (1, [0.0, 0.0, 0.5, 1.0])

  References:
    Zhou et al., *Objects as Points*, 2019, for the loss of classes.
    Liu et al., *Training-Time-Friendly Network for Real-Time Object Detection*, AAAI 2020, for Gaussians and boxes.
    Deviations: a box counts as one, whatever its size; distances are exponentials; greedy suppression instead of local
    maxima, since alike objects may lie side by side.
  """
  if num_classes < 1:
    raise UserError(f"detection of {label!r}: num_classes is {num_classes}, expected at least 1.")
  if classes and len(classes) != num_classes:
    raise UserError(f"detection of {label!r}: classes has {len(classes)} names, expected num_classes = {num_classes}.")
  if not (0 <= box_weight < math.inf and most >= 1 and 0 < overlap_limit <= 1 and 0 <= threshold < 1):
    raise UserError(
      f"detection of {label!r}: box_weight is {box_weight}, most {most}, overlap_limit {overlap_limit} and threshold "
      f"{threshold}, expected box_weight at least 0, most at least 1, overlap_limit in (0, 1], threshold in [0, 1)."
    )
  names = list(classes) or [str(i) for i in range(num_classes)]
  given = _weights.weights_of(label, mask, weight)

  def label_of(batch):
    return {"class": read(batch, label, "label"), "boxes": read(batch, boxes, "label")}

  def weights_of(batch):
    objects = jnp.maximum(_count(read(batch, label, "label")), 1)
    if given is None:
      return objects
    weights = given(batch)
    if weights.ndim != 1:
      raise UserError(
        f"mask and weight of label {label!r} have shape {weights.shape}, expected {objects.shape}, one per image: an "
        "object that is not there has class -1."
      )
    return objects * weights

  def loss(prediction, batch):
    kinds, corners = (jnp.asarray(label_of(batch)[key]) for key in ("class", "boxes"))
    _expect(label, boxes, prediction, kinds, corners, num_classes)
    prediction = jnp.asarray(prediction).astype(jnp.float32)
    logits, found = prediction[..., :num_classes], _centres.boxes_of(prediction[..., num_classes:])
    _, high, wide, _ = prediction.shape
    target = _centres.targets(corners.astype(jnp.float32), kinds, (high, wide), num_classes)
    _, giou = _boxes.overlap(found, target.boxes)
    sides = jnp.sum(target.weights * (1 - giou), axis=(1, 2))
    return (jnp.sum(_focal(logits, target.heat), axis=(1, 2, 3)) + box_weight * sides) / jnp.maximum(_count(kinds), 1)

  def output(prediction):
    prediction = jnp.asarray(prediction).astype(jnp.float32)
    scores = jax.nn.sigmoid(prediction[..., :num_classes])
    found = jnp.clip(_centres.boxes_of(prediction[..., num_classes:]), 0, 1)
    places = (prediction.shape[0], -1)
    return _boxes.best(found.reshape(*places, 4), scores.reshape(*places, num_classes), most, overlap_limit)

  def record(outputs):
    chosen = np.flatnonzero((np.asarray(outputs["class"]) >= 0) & (np.asarray(outputs["score"]) >= threshold))
    return [
      {
        "box": [round(float(side), 4) for side in outputs["boxes"][i]],
        "class": names[int(outputs["class"][i])],
        "score": round(float(outputs["score"][i]), 4),
      }
      for i in chosen
    ]

  return Task(
    loss=loss,
    mask=weights_of,
    metrics={
      "map50": _metrics.mean_average_precision(output, overlaps=(0.5,)),
      "map": _metrics.mean_average_precision(output),
    },
    label=label_of,
    output=output,
    check=lambda name, arrays: _box_labels.check(name, arrays, label, boxes, num_classes, mask, weight),
    checked=(label, boxes),
    draw=lambda axes, outputs: _draw(axes, record(outputs), names),
    record=record,
  )


def _count(kinds: Any) -> jax.Array:
  """The number of objects of each image."""
  return jnp.sum(jnp.asarray(kinds) >= 0, axis=1, dtype=jnp.float32)


def _focal(logits: jax.Array, heat: jax.Array) -> jax.Array:
  """The loss of each class of each cell."""
  p = jax.nn.sigmoid(logits)
  there = -jnp.square(1 - p) * jax.nn.log_sigmoid(logits)
  elsewhere = -((1 - heat) ** 4) * jnp.square(p) * jax.nn.log_sigmoid(-logits)
  return jnp.where(heat == 1, there, elsewhere)


def _expect(label: str, boxes: str, prediction: Any, kinds: Any, corners: Any, num_classes: int) -> None:
  if prediction.ndim != 4 or prediction.shape[-1] != num_classes + 4:
    raise UserError(
      f"the prediction for label {label!r} has shape {prediction.shape}, expected a map (B, h, w, {num_classes + 4}): "
      "give it a head of convolutions on features that keep their positions."
    )
  if kinds.ndim != 2 or corners.shape != (*kinds.shape, 4):
    raise UserError(
      f"label {label!r} has shape {kinds.shape} and {boxes!r} {corners.shape}, expected (B, K) and (B, K, 4)."
    )


def _draw(axes: Any, found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
  """Boxes with class and score on axes that show the image."""
  from matplotlib import colormaps
  from matplotlib.patches import Rectangle

  high, wide = axes.get_images()[0].get_size()
  for one in found:
    x0, y0, x1, y1 = np.asarray(one["box"]) * (wide, high, wide, high) - 0.5  # pixels have their centres at integers
    colour = colormaps["tab10"](names.index(one["class"]) % 10)
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=colour))
    axes.text(x0, y0, f"{one['class']} {one['score']:.2f}", color=colour, fontsize="xx-small", va="bottom")
