"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mtl_jax.tasks import _drawing, _entries
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task


def segmentation(
  label: str,
  num_classes: int,
  *,
  ignore: int = -1,
  mask: str | None = None,
  weight: str | None = None,
  class_weights: Sequence[float] | None = None,
  classes: Sequence[str] | None = None,
) -> Task:
  r"""One of `num_classes` classes for every pixel, by softmax cross entropy.

  $$ \ell = -c_y \log p_y, \qquad p = softmax(\hat y) $$

  The task's loss is the mean over all labelled pixels of the batch, weighted by the product of mask and weight.

  Args:
    label: The key of the labels in the batch, (B, H, W) integers in [0, num_classes), or `ignore`.
    num_classes: The number C of classes; predictions are logits (B, H, W, C).
    ignore: The label of pixels that have none.
    mask: The key of a mask in [0, 1], (B,) or (B, H, W); None: all are labelled but for `ignore`. Masked labels may
      hold any value.
    weight: The key of any weights at least 0, (B,) or (B, H, W); None: ones. Loss and metrics alike use them.
    class_weights: $c$, (C,) factors of the pixels' losses by class; None: ones. They are part of the loss: it is not
      divided by them, and metrics know nothing of them.
    classes: Their names, for what is said of predictions; None: their numbers.

  Returns:
    The task, with the metrics miou (main) and pixel_accuracy. Its output is the map of classes.

  Raises:
    UserError: An option is out of range.

  >>> task = segmentation("kinds", 3)
  >>> batch = {"kinds": jnp.array([[[2, -1]]])}
  >>> task.loss(jnp.zeros((1, 1, 2, 3)), batch)[0, 0, 0].round(4).item(), task.mask(batch).tolist()  # log 3
  (1.0986, [[[1.0, 0.0]]])
  """
  pixels = _entries.of_classes(
    f"segmentation of {label!r}",
    label,
    num_classes,
    2,
    "each pixel of a map (B, H, W)",
    ignore=ignore,
    mask=mask,
    weight=weight,
    class_weights=class_weights,
    classes=classes,
  )

  def decide(logits):
    return jnp.argmax(logits, axis=-1)

  def draw(axes, outputs):
    import matplotlib

    colours = matplotlib.colormaps["tab20"]
    _drawing.over(axes, colours(np.asarray(outputs["class"]) % colours.N), alpha=0.6)

  def record(outputs):
    found = np.bincount(np.ravel(outputs["class"]), minlength=num_classes) / np.size(outputs["class"])
    return {pixels.named[i]: round(float(found[i]), 4) for i in np.argsort(-found, kind="stable") if found[i] > 0}

  return Task(
    loss=pixels.loss,
    mask=pixels.weights,
    metrics={"miou": _metrics.mean_iou(decide, num_classes), "pixel_accuracy": _metrics.accuracy(decide)},
    label=pixels.label,
    output=lambda logits: {"class": decide(logits)},
    check=pixels.check,
    checked=(label,),
    draw=draw,
    record=record,
  )
