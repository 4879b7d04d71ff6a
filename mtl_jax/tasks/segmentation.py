"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _drawing, _labels, _weights
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task
from mtl_jax.tasks.class_weights import as_factors


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
  what = f"segmentation of {label!r}"
  if num_classes < 2:
    raise UserError(f"{what}: num_classes is {num_classes}, expected at least 2.")
  if classes is not None and (isinstance(classes, str) or len(classes) != num_classes):
    raise UserError(f"{what}: classes are {classes!r}, expected {num_classes} names.")
  factors = None if class_weights is None else as_factors(what, class_weights, [(num_classes,)])
  label_of = functools.partial(_labels.read, key=label, kind="label")

  there = _weights.other_than(ignore)
  weights_of = _weights.weights_of(label, mask, weight, there)

  def loss(logits, batch):
    y = label_of(batch)
    if not jnp.issubdtype(y.dtype, jnp.integer):
      raise UserError(f"label {label!r} has dtype {y.dtype}, expected integers.")
    if y.ndim != 3 or logits.shape != (*y.shape, num_classes):
      raise UserError(
        f"the prediction for label {label!r} has shape {logits.shape}, expected {(*y.shape, num_classes)}: logits at "
        "each pixel of a map (B, H, W)."
      )
    y = _weights.where_labelled(y.astype(jnp.int32), weights_of and weights_of(batch))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return losses if factors is None else losses * jnp.asarray(factors, losses.dtype)[y]

  def check(name, arrays):
    y, counted = _labels.labels_of(name, arrays, label, mask, weight, (None, None), there)
    _labels.check_integers(name, label, y)
    wrong = counted & ((y < 0) | (y >= num_classes))
    if wrong.any():
      raise UserError(
        f"task {name!r}: label {label!r} holds {y[wrong][0]} in example {first_example(wrong)}, expected "
        f"classes in [0, {num_classes - 1}], and {ignore} where there is none."
      )
    _labels.check_any(name, label, counted)

  def decide(logits):
    return jnp.argmax(logits, axis=-1)

  def draw(axes, outputs):
    import matplotlib

    colours = matplotlib.colormaps["tab20"]
    _drawing.over(axes, colours(np.asarray(outputs["class"]) % colours.N), alpha=0.6)

  def record(outputs):
    found = np.bincount(np.ravel(outputs["class"]), minlength=num_classes) / np.size(outputs["class"])
    named = classes or [str(number) for number in range(num_classes)]
    return {named[i]: round(float(found[i]), 4) for i in np.argsort(-found, kind="stable") if found[i] > 0}

  return Task(
    loss=loss,
    mask=weights_of,
    metrics={"miou": _metrics.mean_iou(decide, num_classes), "pixel_accuracy": _metrics.accuracy(decide)},
    label=label_of,
    output=lambda logits: {"class": decide(logits)},
    check=check,
    checked=(label,),
    draw=draw,
    record=record,
  )
