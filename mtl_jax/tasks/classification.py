"""Classification: one class of several, one of two, or any number of labels at once."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._errors import UserError
from mtl_jax.tasks import _labels, _metrics
from mtl_jax.tasks._task import Task


def classification(
  label: str,
  num_classes: int,
  *,
  mask: str | None = None,
  label_smoothing: float = 0.0,
  class_weights: Sequence[float] | None = None,
) -> Task:
  r"""One of `num_classes` classes, by softmax cross entropy.

  $$ \ell = -w_y \sum_c q_c \log softmax(\hat y)_c, \qquad q = (1 - \epsilon) e_y + \epsilon / C $$

  Args:
    label: The key of the labels in the batch, (B,) integers in [0, num_classes).
    num_classes: The number C of classes; predictions are logits (B, C).
    mask: The key of the labels' mask, (B,) in [0, 1]; None: all are labelled. Masked labels may hold any value.
    label_smoothing: $\epsilon$ in [0, 1).
    class_weights: $w$, (C,) factors of the examples' losses by class; None: ones.

  Returns:
    The task, with the metrics accuracy (main), macro f1, precision and recall.

  Raises:
    UserError: An option is out of range.

  >>> task = classification("kind", 3)
  >>> task.loss(jnp.zeros((1, 3)), {"kind": jnp.array([2])}).round(4).tolist()  # log 3
  [1.0986]
  """
  if num_classes < 2:
    raise UserError(f"classification of {label!r}: num_classes is {num_classes}, expected at least 2.")
  if not 0 <= label_smoothing < 1:
    raise UserError(f"classification of {label!r}: label_smoothing is {label_smoothing}, expected in [0, 1).")
  if class_weights is not None and len(class_weights) != num_classes:
    raise UserError(f"classification of {label!r}: {len(class_weights)} class_weights, expected {num_classes}.")
  if class_weights is not None and not min(class_weights) >= 0:
    raise UserError(f"classification of {label!r}: class_weights hold {min(class_weights)}, expected at least 0.")
  mask_fn = _labels.mask_of(label, mask)

  def loss(prediction, batch):
    y = _labels.read(batch, label, "label")
    _expect(label, prediction.shape, y, (*y.shape[:1], num_classes), y.shape[:1], integer=True)
    y = _labels.where_labelled(y, mask_fn(batch))
    targets = optax.smooth_labels(jax.nn.one_hot(y, num_classes, dtype=prediction.dtype), label_smoothing)
    losses = optax.softmax_cross_entropy(prediction, targets)
    return losses if class_weights is None else losses * jnp.asarray(class_weights, losses.dtype)[y]

  def check(name, arrays):
    y = _labels.labelled(name, arrays, label, mask, "(N,)")
    _check_integers(name, label, y, num_classes)

  def decide(logits):
    return jnp.argmax(logits, axis=-1)

  metrics = {
    "accuracy": _metrics.accuracy(decide),
    "f1": _metrics.f1(decide, num_classes),
    "precision": _metrics.precision(decide, num_classes),
    "recall": _metrics.recall(decide, num_classes),
  }
  return Task(
    loss,
    mask_fn,
    {name: metric_on(label, metric) for name, metric in metrics.items()},
    lambda logits: {"class": decide(logits), "probability": jax.nn.softmax(logits)},
    check,
  )


def binary(label: str, *, mask: str | None = None, positive_weight: float = 1.0) -> Task:
  r"""Yes or no, by sigmoid cross entropy on one logit.

  $$ \ell = -w y \log \sigma(\hat y) - (1 - y) \log(1 - \sigma(\hat y)) $$

  Args:
    label: The key of the labels in the batch, (B,) 0 or 1; predictions are logits (B,) or (B, 1).
    mask: The key of the labels' mask, (B,) in [0, 1].
    positive_weight: $w$, the factor of the positive examples' losses.

  Returns:
    The task, with the metrics roc_auc (main), accuracy, f1, precision and recall.

  Raises:
    UserError: The weight is not positive.

  >>> binary("toxic").loss(jnp.zeros(2), {"toxic": jnp.array([0, 1])}).round(4).tolist()  # log 2
  [0.6931, 0.6931]
  """
  return _sigmoid(label, None, mask, positive_weight)


def multilabel(label: str, num_labels: int, *, mask: str | None = None, positive_weight: float = 1.0) -> Task:
  r"""Any of `num_labels` labels at once, by the mean of their sigmoid cross entropies.

  Args:
    label: The key of the labels in the batch, (B, K) of 0 or 1; predictions are logits (B, K).
    num_labels: K.
    mask: The key of the mask, (B,) in [0, 1]. Where single entries are missing, use one `binary` task a label.
    positive_weight: The factor of the positive entries' losses.

  Returns:
    The task, with the metrics roc_auc (main; mean over labels), accuracy, f1, precision and recall (macro).

  Raises:
    UserError: An option is out of range.

  >>> multilabel("tags", 2).loss(jnp.zeros((1, 2)), {"tags": jnp.array([[0, 1]])}).round(4).tolist()
  [0.6931]
  """
  if num_labels < 1:
    raise UserError(f"multilabel of {label!r}: num_labels is {num_labels}, expected at least 1.")
  return _sigmoid(label, num_labels, mask, positive_weight)


def _sigmoid(label: str, num_labels: int | None, mask: str | None, positive_weight: float) -> Task:
  if positive_weight <= 0:
    raise UserError(f"classification of {label!r}: positive_weight is {positive_weight}, expected above 0.")
  mask_fn = _labels.mask_of(label, mask)

  def logits_of(prediction):
    return prediction[:, 0] if num_labels is None and prediction.shape[1:] == (1,) else prediction

  def loss(prediction, batch):
    y = _labels.read(batch, label, "label")
    shape = y.shape[:1] if num_labels is None else (*y.shape[:1], num_labels)
    _expect(label, logits_of(prediction).shape, y, shape, shape, integer=False)
    y = _labels.where_labelled(y, mask_fn(batch)).astype(prediction.dtype)
    losses = optax.sigmoid_binary_cross_entropy(logits_of(prediction), y)
    losses = losses * jnp.where(y > 0, jnp.asarray(positive_weight, losses.dtype), 1.0)
    return losses if num_labels is None else losses.mean(axis=1)

  def check(name, arrays):
    y = _labels.labelled(name, arrays, label, mask, "(N,)" if num_labels is None else f"(N, {num_labels})")
    if num_labels is not None and y.shape[1] != num_labels:
      raise UserError(f"task {name!r}: label {label!r} has {y.shape[1]} columns, expected {num_labels}.")
    wrong = y[(y != 0) & (y != 1)]
    if wrong.size:
      raise UserError(f"task {name!r}: label {label!r} holds {wrong.flat[0]}, expected only 0 and 1.")

  def decide(prediction):
    return (logits_of(prediction) > 0).astype(jnp.int32)

  metrics = {
    "roc_auc": _metrics.roc_auc(logits_of),
    "accuracy": _metrics.accuracy(decide),
    "f1": _metrics.f1(decide),
    "precision": _metrics.precision(decide),
    "recall": _metrics.recall(decide),
  }
  return Task(
    loss,
    mask_fn,
    {name: metric_on(label, metric) for name, metric in metrics.items()},
    lambda prediction: {"class": decide(prediction), "probability": jax.nn.sigmoid(logits_of(prediction))},
    check,
  )


def metric_on(label: str, metric: _metrics.Metric) -> _metrics.Metric:
  """The metric with the label read from the batch: `update(prediction, batch, mask)`."""
  return metric._replace(update=lambda p, batch, mask: metric.update(p, _labels.read(batch, label, "label"), mask))


def _expect(label, found, y, prediction_shape, label_shape, *, integer):
  if found != prediction_shape:
    raise UserError(
      f"the prediction for label {label!r} has shape {found}, expected {prediction_shape}: change the head's width."
    )
  if y.shape != label_shape:
    raise UserError(f"label {label!r} has shape {y.shape}, expected {label_shape}.")
  if integer and not jnp.issubdtype(y.dtype, jnp.integer):
    raise UserError(f"label {label!r} has dtype {y.dtype}, expected integers.")


def _check_integers(name: str, label: str, y: np.ndarray, num_classes: int) -> None:
  if not np.issubdtype(y.dtype, np.integer):
    raise UserError(f"task {name!r}: label {label!r} has dtype {y.dtype}, expected integers.")
  if y.size and (y.min() < 0 or y.max() >= num_classes):
    raise UserError(
      f"task {name!r}: label {label!r} ranges over [{y.min()}, {y.max()}], expected [0, {num_classes - 1}]."
    )
