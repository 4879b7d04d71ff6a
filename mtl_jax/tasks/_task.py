"""`Task`, a named loss with its mask, metrics and direction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mtl_jax.tasks._metrics import Metric


@dataclasses.dataclass(frozen=True)
class Task:
  """A loss, the examples it counts for, and how its quality is measured.

  Attributes:
    loss: `loss(prediction, batch) -> (B,)`, one loss an example.
    mask: `mask(batch) -> (B,)` in [0, 1], the weight of each example; 0 where the label is missing. None: all 1.
      The objective takes the masked mean, so a batch without labels adds exactly zero.
    metrics: `{name: Metric}`; the first is the main one, by which `compare` and `delta_m` judge the task.
    output: `output(prediction) -> {name: array}`, what a user wants to see of a prediction (a class, not logits).
    check: `check(name, arrays)` raises a one-line `ValueError` if the labels of the numpy `arrays` cannot be used.

  >>> import jax.numpy as jnp
  >>> task = Task(loss=lambda prediction, batch: jnp.abs(prediction - batch["y"]))
  >>> task.loss(jnp.array([1.0, 2.0]), {"y": jnp.array([1.0, 0.0])}).tolist()
  [0.0, 2.0]
  """

  loss: Callable[[Any, Mapping[str, Any]], Any]
  mask: Callable[[Mapping[str, Any]], Any] | None = None
  metrics: Mapping[str, Metric] = dataclasses.field(default_factory=dict)
  output: Callable[[Any], dict[str, Any]] = lambda prediction: {"prediction": prediction}
  check: Callable[[str, Mapping[str, np.ndarray]], None] = lambda name, arrays: None

  @property
  def main_metric(self) -> str:
    """The name of the metric that judges the task: the first, or the loss where there is none."""
    return next(iter(self.metrics), "loss")

  @property
  def higher_is_better(self) -> bool:
    """The direction of the main metric."""
    return bool(self.metrics) and self.metrics[self.main_metric].higher_is_better
