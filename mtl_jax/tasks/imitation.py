"""How a task learns from what another model predicts: for classes, for yes or no, and for numbers.

- `Imitation`: what is kept of a teacher's predictions, and the loss against it.
- `of_classes`, `of_signs`, `of_values`: those of classification, of binary and multilabel tasks, and of regression.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.tasks import _weights

__all__ = ["Imitation", "of_classes", "of_signs", "of_values"]


class Imitation(NamedTuple):
  """How a task learns from what another model predicts.

  Attributes:
    kind: What is predicted, in words; teacher and student are of one kind.
    target: `target(prediction)`, what is kept of the teacher's prediction, (B, ...).
    loss: `loss(prediction, target, weights, temperature)`, of the shape of the task's loss; `weights` are those of
      `Task.mask`, or None.
  """

  kind: str
  target: Callable[[Any], Any]
  loss: Callable[[Any, Any, Any, float], Any]


def of_classes(num_classes: int) -> Imitation:
  r"""Of softmax classes: the divergence from the teacher's probabilities p to the student's q, at a temperature.

  $$ \ell = T^2 \sum_i p_i (\log p_i - \log q_i), \qquad p = softmax(z / T), \quad q = softmax(\hat y / T) $$

  Args:
    num_classes: The number of classes; logits are (B, ..., C).

  Returns:
    The imitation.
  """

  def loss(prediction, target, weights, temperature):
    p, q = (jax.nn.log_softmax(logits / temperature) for logits in (target, prediction))
    return _weights.as_weighted(temperature**2 * jnp.sum(jnp.exp(p) * (p - q), axis=-1), weights)

  return Imitation(f"{num_classes} classes", lambda prediction: prediction, loss)


def of_signs(logits_of: Callable[[Any], Any], labels: int | None = None) -> Imitation:
  r"""Of yes or no: the same divergence of Bernoulli variables of probabilities p and q.

  $$ \ell = T^2 \left(p \log \frac{p}{q} + (1 - p) \log \frac{1 - p}{1 - q}\right), \qquad
     p = \sigma(z / T), \quad q = \sigma(\hat y / T) $$

  Args:
    logits_of: `logits_of(prediction)`, as many as labels.
    labels: How many there are of each example; None: one, without an axis.

  Returns:
    The imitation.
  """

  def loss(prediction, target, weights, temperature):
    teacher, student = target / temperature, logits_of(prediction) / temperature
    both = (
      jax.nn.sigmoid(sign * teacher) * (jax.nn.log_sigmoid(sign * teacher) - jax.nn.log_sigmoid(sign * student))
      for sign in (1, -1)
    )
    return _weights.as_weighted(temperature**2 * sum(both), weights)

  return Imitation("yes or no" if labels is None else f"{labels} labels", logits_of, loss)


def of_values(values: Callable[[Any], Any], mean: float, std: float, size: int | None = None) -> Imitation:
  r"""Of numbers: the squared difference to the teacher's, in the student's standard deviations.

  $$ \ell = \left(\hat y - \frac{z - mean}{std}\right)^2 $$

  with z in the labels' own unit, so that the teacher may have had another mean and deviation. There is no temperature.

  Args:
    values: `values(prediction)`, in standard deviations.
    mean: The mean of the labels.
    std: Their standard deviation.
    size: How many there are of each example; None: one, without an axis.

  Returns:
    The imitation.
  """

  def loss(prediction, target, weights, temperature):
    return _weights.as_weighted(jnp.square(values(prediction) - (target - mean) / std), weights)

  kind = "one number" if size is None else f"{size} numbers"
  return Imitation(kind, lambda prediction: values(prediction) * std + mean, loss)
