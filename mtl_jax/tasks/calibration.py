"""Probabilities that mean what they say, and intervals around numbers, from what validation data show of a model.

- `Calibration`: how a task's outputs are calibrated.
- `temperature`: probabilities; `log_loss_of_classes`, `log_loss_of_signs`: by which losses.
- `conformal`: intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mtl_jax.tasks.metrics.collected import collected
from mtl_jax.tasks.metrics.metric import Metric

__all__ = ["Calibration", "conformal", "log_loss_of_classes", "log_loss_of_signs", "temperature"]

LEVEL = 0.9
"""The share of examples that intervals are to hold."""
_RANGE = 4.0  # of the logarithm of the temperature


class Calibration(NamedTuple):
  """How a task's outputs are calibrated.

  Attributes:
    fitted: What is taken from validation data, `{name: Metric}`, the metric's value being the number that is meant.
    apply: `apply(output, values) -> output`, the task's `output` with these numbers.
  """

  fitted: Mapping[str, Metric]
  apply: Callable[[Callable[[Any], dict[str, Any]], Mapping[str, float]], Callable[[Any], dict[str, Any]]]


def temperature(loss: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Calibration:
  r"""Logits divided by a number, so that probabilities fit the frequencies of validation data.

  $$ T = \arg\min_T \sum_i w_i \ell(\hat y_i / T, y_i) + \tfrac12 (\log T)^2 $$

  The decided class stays the same. Deviation from the paper: the last term, a standard normal prior of $\log T$. From
  some dozens of examples on it changes little; without it a few examples, all predicted right, ask for probabilities of
  0 and 1.

  Args:
    loss: `loss(logits, labels)`, in numpy, the log loss of each example or entry.

  Returns:
    The calibration.

  References:
    Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017.
  """

  def fit(logits, labels, weights):
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, np.float64)

    def total(log_temperature):
      losses = loss(logits / np.exp(log_temperature), labels)
      shape = weights.shape + (1,) * (losses.ndim - weights.ndim)
      return float(np.sum(losses * weights.reshape(shape)) + log_temperature**2 / 2)

    found: Any = minimize_scalar(total, bounds=(-_RANGE, _RANGE), method="bounded")
    return np.exp(found.x)

  def apply(output, values):
    return lambda prediction: output(prediction / values["temperature"])

  return Calibration({"temperature": collected(fit)}, apply)


def conformal(in_units: Callable[[Any], Any]) -> Calibration:
  r"""Intervals that hold nine of ten numbers: the prediction, plus and minus what validation data were wrong by.

  $$ r = |y - \hat y|_{(k)}, \qquad k = \lceil 0.9 (n + 1) \rceil $$

  the k-th smallest error of n. For examples drawn as the validation data, an interval holds the number with a
  probability of at least 0.9, whatever the model. With fewer than nine validation examples nothing can be said, and
  intervals are infinite.

  Args:
    in_units: `in_units(prediction) -> (B,)`, the prediction in the labels' unit.

  Returns:
    The calibration.

  References:
    Lei et al., *Distribution-Free Predictive Inference for Regression*, 2018.
  """

  def fit(predictions, labels, weights):
    errors = np.sort(np.abs(np.asarray(labels, np.float64) - predictions), axis=None)
    place = int(np.ceil(LEVEL * (len(errors) + 1)))
    return errors[place - 1] if place <= len(errors) else np.inf

  def apply(output, values):
    def with_interval(prediction):
      middle, radius = in_units(prediction), values["radius"]
      return {**output(prediction), "low": middle - radius, "high": middle + radius}

    return with_interval

  return Calibration({"radius": collected(fit, score=in_units)}, apply)


def log_loss_of_classes(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Softmax cross entropy.

  Args:
    logits: (N, ..., C).
    labels: Classes, (N, ...).

  Returns:
    The losses, (N, ...).
  """
  highest = logits.max(axis=-1, keepdims=True)
  total = np.log(np.exp(logits - highest).sum(axis=-1)) + highest[..., 0]
  labels = np.clip(labels.astype(int), 0, logits.shape[-1] - 1)  # those that do not count may hold anything
  return total - np.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]


def log_loss_of_signs(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Sigmoid cross entropy.

  Args:
    logits: As many as labels.
    labels: 0 or 1, (N, ...).

  Returns:
    The losses, (N, ...).
  """
  logits = logits.reshape(labels.shape)
  return np.logaddexp(0, np.where(labels == 1, -logits, logits))
