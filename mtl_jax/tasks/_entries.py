"""A class for every entry of a map or a sequence: what segmentation and tagging share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.errors import UserError
from mtl_jax.tasks import _labels, _weights
from mtl_jax.tasks.class_weights import as_factors


class Entries(NamedTuple):
  """The parts of a `Task` that follow from its labels.

  Attributes:
    label: `label(batch)`.
    weights: `weights(batch)`, the task's mask.
    loss: `loss(logits, batch)`, one value per entry.
    check: `check(name, arrays)`.
    named: The names of the classes.
  """

  label: Callable[[Any], Any]
  weights: Callable[[Any], Any] | None
  loss: Callable[[Any, Any], jax.Array]
  check: Callable[[str, Mapping[str, Any]], None]
  named: list[str]


def of_classes(
  what: str,
  label: str,
  num_classes: int,
  axes: int,
  where: str,
  *,
  ignore: int,
  mask: str | None,
  weight: str | None,
  class_weights: Sequence[float] | None,
  classes: Sequence[str] | None,
) -> Entries:
  """Softmax cross entropy at every entry whose label is not `ignore`.

  Args:
    what: The task, for messages.
    label: The key of the labels in the batch, integers (B, ...).
    num_classes: The number C of classes; predictions are logits (B, ..., C).
    axes: The number of axes of the label of one example.
    where: Where logits are, for messages.
    ignore: The label of entries that have none.
    mask: As in `mtl.tasks.segmentation`.
    weight: As in `mtl.tasks.segmentation`.
    class_weights: As in `mtl.tasks.segmentation`.
    classes: As in `mtl.tasks.segmentation`.

  Returns:
    The parts of the task.

  Raises:
    UserError: An option is out of range.
  """
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
    if y.ndim != 1 + axes or logits.shape != (*y.shape, num_classes):
      raise UserError(
        f"the prediction for label {label!r} has shape {logits.shape}, expected {(*y.shape, num_classes)}: logits at "
        f"{where}."
      )
    y = _weights.where_labelled(y.astype(jnp.int32), weights_of and weights_of(batch))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return losses if factors is None else losses * jnp.asarray(factors, losses.dtype)[y]

  def check(name, arrays):
    y, counted = _labels.labels_of(name, arrays, label, mask, weight, (None,) * axes, there)
    _labels.check_integers(name, label, y)
    told = f"classes in [0, {num_classes - 1}], and {ignore} where there is none"
    _labels.check_range(name, label, y, counted, num_classes, told)
    _labels.check_any(name, label, counted)

  named = [str(number) for number in range(num_classes)] if classes is None else list(classes)
  return Entries(label_of, weights_of, loss, check, named)
