"""Classification: one class of several, one of two, or any number of labels at once."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError
from mtl_jax.tasks import _labels, _weights, calibration, imitation
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task
from mtl_jax.tasks.class_weights import as_factors


def classification(
  label: str,
  num_classes: int,
  *,
  ignore: int | None = None,
  mask: str | None = None,
  weight: str | None = None,
  label_smoothing: float = 0.0,
  class_weights: Sequence[float] | None = None,
  focal: float = 0.0,
) -> Task:
  r"""One of `num_classes` classes, by softmax cross entropy.

  $$ \ell = -c_y \sum_i q_i (1 - p_i)^\gamma \log p_i, \qquad p = softmax(\hat y), \quad
     q = (1 - \epsilon) e_y + \epsilon / C $$

  The task's loss is $\sum_b w_b \ell_b / \sum_b w_b$ over the batch, with w the product of mask and weight.

  Args:
    label: The key of the labels in the batch, (B,) integers in [0, num_classes).
    num_classes: The number C of classes; predictions are logits (B, C).
    ignore: The label of what has none, such as -1; None: all labels count. With it labels may also be (B, K), several
      per example, as where rows of text are packed with several sentences, and predictions (B, K, C).
    mask: The key of the labels' mask, in [0, 1], (B,) or of the labels' shape; None: all are labelled. Masked labels
      may hold any value.
    weight: The key of any weights of at least 0, (B,) or of the labels' shape; None: ones. Loss and metrics alike use
      them.
    label_smoothing: $\epsilon$ in [0, 1).
    class_weights: $c$, (C,) factors of the examples' losses by class, such as `mtl.tasks.balanced_weights(labels)`;
      None: ones. They are part of the loss: it is not divided by them, and metrics know nothing of them.
    focal: $\gamma$, 0 or at least 1: above 0 it is the focal loss, in which examples that are predicted well count for
      less. It is the loss of evaluations, too.

  Returns:
    The task, with the metrics accuracy (main), macro f1, precision and recall.

  Raises:
    UserError: An option is out of range.

  >>> task = classification("kind", 3)
  >>> task.loss(jnp.zeros((1, 3)), {"kind": jnp.array([2])}).round(4).tolist()  # log 3
  [1.0986]
  >>> of_sentences = classification("kind", 3, ignore=-1)
  >>> of_sentences.mask({"kind": jnp.array([[2, 0], [1, -1]])}).tolist()
  [[1.0, 1.0], [1.0, 0.0]]

  References:
    Lin et al., *Focal Loss for Dense Object Detection*, ICCV 2017.
  """
  if num_classes < 2:
    raise UserError(f"classification of {label!r}: num_classes is {num_classes}, expected at least 2.")
  if not 0 <= label_smoothing < 1:
    raise UserError(f"classification of {label!r}: label_smoothing is {label_smoothing}, expected in [0, 1).")
  _check_focal(label, focal)
  factors = (
    None if class_weights is None else as_factors(f"classification of {label!r}", class_weights, [(num_classes,)])
  )
  label_of = functools.partial(_labels.read, key=label, kind="label")
  there = None if ignore is None else _weights.other_than(ignore)
  weights_of = _weights.weights_of(label, mask, weight, there)

  def loss(prediction, batch):
    y = label_of(batch)
    shape = y.shape[:1] if ignore is None else y.shape
    _expect(label, prediction.shape, y, (*shape, num_classes), shape, integer=True)
    y = _weights.where_labelled(y, weights_of and weights_of(batch))
    targets = optax.smooth_labels(jax.nn.one_hot(y, num_classes, dtype=prediction.dtype), label_smoothing)
    if focal:
      logs = jax.nn.log_softmax(prediction)
      losses = -jnp.sum(targets * (1 - jnp.exp(logs)) ** focal * logs, axis=-1)
    else:
      losses = optax.softmax_cross_entropy(prediction, targets)
    return losses if factors is None else losses * jnp.asarray(factors, losses.dtype)[y]

  def check(name, arrays):
    entries = () if ignore is None else (None,) * (np.ndim(arrays.get(label, [])) - 1)
    y, counted = _labels.labels_of(name, arrays, label, mask, weight, entries, there)
    _check_integers(name, label, y[counted], num_classes)

  def decide(logits):
    return jnp.argmax(logits, axis=-1)

  metrics = {
    "accuracy": _metrics.accuracy(decide),
    "f1": _metrics.f1(decide, num_classes),
    "precision": _metrics.precision(decide, num_classes),
    "recall": _metrics.recall(decide, num_classes),
  }
  return Task(
    loss=loss,
    mask=weights_of,
    metrics=metrics,
    label=label_of,
    output=lambda logits: {"class": decide(logits), "probability": jax.nn.softmax(logits)},
    check=check,
    checked=(label,),
    calibration=calibration.temperature(calibration.log_loss_of_classes),
    imitation=imitation.of_classes(num_classes),
  )


def binary(
  label: str,
  *,
  mask: str | None = None,
  weight: str | None = None,
  positive_weight: float = 1.0,
  class_weights: Sequence[float] | None = None,
  focal: float = 0.0,
) -> Task:
  r"""Yes or no, by sigmoid cross entropy on one logit.

  $$ \ell = -c_1 y (1 - p)^\gamma \log p - c_0 (1 - y) p^\gamma \log(1 - p), \qquad p = \sigma(\hat y) $$

  The task's loss is $\sum_b w_b \ell_b / \sum_b w_b$ over the batch, with w the product of mask and weight.

  Args:
    label: The key of the labels in the batch, (B,) 0 or 1; predictions are logits (B,) or (B, 1).
    mask: The key of the labels' mask, (B,) in [0, 1]; None: all are labelled. Masked labels may hold any value.
    weight: The key of any weights of the examples, (B,) at least 0; None: ones. Loss and metrics alike use them.
    positive_weight: Short for `class_weights=(1, positive_weight)`.
    class_weights: $(c_0, c_1)$, the factors of negative and positive examples' losses, such as
      `mtl.tasks.balanced_weights(labels)`; None: ones. They are part of the loss: it is not divided by them, and
      metrics know nothing of them.
    focal: $\gamma$, as in `classification`.

  Returns:
    The task, with the metrics roc_auc (main), accuracy, f1, precision and recall.

  Raises:
    UserError: An option is out of range, or both `positive_weight` and `class_weights` are given.

  >>> binary("toxic").loss(jnp.zeros(2), {"toxic": jnp.array([0, 1])}).round(4).tolist()  # log 2
  [0.6931, 0.6931]
  """
  return _sigmoid(label, (), mask, weight, positive_weight, class_weights, focal)


def multilabel(
  label: str,
  num_labels: int,
  *,
  mask: str | None = None,
  weight: str | None = None,
  positive_weight: float = 1.0,
  class_weights: Sequence[float | Sequence[float]] | None = None,
  focal: float = 0.0,
) -> Task:
  r"""Any of `num_labels` labels at once, by the mean of their sigmoid cross entropies.

  $$ \ell_k = -c_{k1} y_k (1 - p_k)^\gamma \log p_k - c_{k0} (1 - y_k) p_k^\gamma \log(1 - p_k), \qquad
     p_k = \sigma(\hat y_k) $$

  The task's loss is $\sum_{bk} w_{bk} \ell_{bk} / \sum_{bk} w_{bk}$ over the batch, with w the product of mask and
  weight.

  Args:
    label: The key of the labels in the batch, (B, K) of 0 or 1; predictions are logits (B, K).
    num_labels: K.
    mask: The key of the labels' mask in [0, 1], (B,), or (B, K) where single entries are missing; None: all are
      labelled. Masked labels may hold any value.
    weight: The key of any weights at least 0, (B,) or (B, K); None: ones. Loss and metrics alike use them.
    positive_weight: Short for `class_weights=[(1, positive_weight)] * num_labels`.
    class_weights: For each label its pair $(c_{k0}, c_{k1})$, the factors of negative and positive entries' losses, or
      one number for both, such as `mtl.tasks.balanced_weights(labels)`; None: ones. They are part of the loss: it is
      not divided by them, and metrics know nothing of them.
    focal: $\gamma$, as in `classification`.

  Returns:
    The task, with the metrics roc_auc (main; mean over labels), accuracy, f1, precision and recall (macro).

  Raises:
    UserError: An option is out of range, or both `positive_weight` and `class_weights` are given.

  >>> multilabel("tags", 2).loss(jnp.zeros((1, 2)), {"tags": jnp.array([[0, 1]])}).round(4).tolist()
  [0.6931]
  """
  if num_labels < 1:
    raise UserError(f"multilabel of {label!r}: num_labels is {num_labels}, expected at least 1.")
  return _sigmoid(label, (num_labels,), mask, weight, positive_weight, class_weights, focal)


def _sigmoid(
  label: str, entries: tuple[int, ...], mask, weight, positive_weight: float, class_weights, focal: float
) -> Task:
  _check_focal(label, focal)
  if not 0 < positive_weight < math.inf:
    raise UserError(f"classification of {label!r}: positive_weight is {positive_weight}, expected above 0.")
  if class_weights is None:
    factors = None if positive_weight == 1 else np.asarray([1.0, positive_weight])
  elif positive_weight != 1:
    raise UserError(f"classification of {label!r}: positive_weight is part of class_weights: give one of them.")
  else:
    factors = as_factors(f"classification of {label!r}", class_weights, [(*entries, 2)] + [entries] * bool(entries))
    factors = np.stack([factors, factors], axis=-1) if factors.shape == entries else factors
  label_of = functools.partial(_labels.read, key=label, kind="label")
  weights_of = _weights.weights_of(label, mask, weight)

  def logits_of(prediction):
    return prediction[:, 0] if not entries and prediction.shape[1:] == (1,) else prediction

  def loss(prediction, batch):
    y = label_of(batch)
    shape = (*y.shape[:1], *entries)
    _expect(label, logits_of(prediction).shape, y, shape, shape, integer=False)
    weights = weights_of and weights_of(batch)
    y = _weights.where_labelled(y, weights).astype(prediction.dtype)
    logits = logits_of(prediction)
    losses = (
      optax.sigmoid_focal_loss(logits, y, gamma=focal) if focal else optax.sigmoid_binary_cross_entropy(logits, y)
    )
    if factors is not None:
      negative, positive = (jnp.broadcast_to(jnp.asarray(factors[..., i], y.dtype), y.shape) for i in (0, 1))
      losses = losses * jnp.where(y > 0, positive, negative)
    return _weights.as_weighted(losses, weights)

  def check(name, arrays):
    y, counted = _labels.labels_of(name, arrays, label, mask, weight, entries)
    wrong = (y != 0) & (y != 1) & counted
    if wrong.any():
      raise UserError(f"task {name!r}: label {label!r} holds {y[wrong][0]}, expected only 0 and 1.")

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
    loss=loss,
    mask=weights_of,
    metrics=metrics,
    label=label_of,
    output=lambda prediction: {"class": decide(prediction), "probability": jax.nn.sigmoid(logits_of(prediction))},
    check=check,
    checked=(label,),
    calibration=calibration.temperature(calibration.log_loss_of_signs),
    imitation=imitation.of_signs(logits_of, *entries),
  )


def _check_focal(label: str, focal: float) -> None:
  """Between 0 and 1 the derivative at a probability of 1 would be infinite."""
  if focal != 0 and not 1 <= focal < math.inf:
    raise UserError(f"classification of {label!r}: focal is {focal}, expected 0 or at least 1.")


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
  _labels.check_integers(name, label, y)
  if y.size and (y.min() < 0 or y.max() >= num_classes):
    raise UserError(
      f"task {name!r}: label {label!r} ranges over [{y.min()}, {y.max()}], expected [0, {num_classes - 1}]: number the "
      "classes from 0; where labels are missing, set mask=."
    )
