"""`Task`, a named loss with its weights, metrics and direction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax.tasks.calibration import Calibration
from mtl_jax.tasks.imitation import Imitation
from mtl_jax.tasks.metrics import Metric
from mtl_jax.terms import Strength


@dataclasses.dataclass(frozen=True)
class Task:
  r"""A loss, the examples it counts for, and how its quality is measured.

  Attributes:
    loss: `loss(prediction, batch) -> (B,)`, one loss per example; or (B, ...), one per entry, exactly when `mask` gives
      weights of that same shape.
    mask: `mask(batch) -> (B,)`, the weight of each example, at least 0, or (B, ...) of each entry, such as a label,
      token or pixel; 0 where the label is missing. None: all count alike, at no cost. The objective takes the weighted
      mean $\sum w \ell / \sum w$ over the batch, so a batch without labels adds exactly zero.
    metrics: `{name: Metric}`; the first is the main one, by which `compare` and `delta_m` judge the task.
    label: `label(batch)`, what the metrics compare a prediction with: an array (B, ...), or a tree of them, such as
      boxes and their classes. By default the whole batch; `accuracy`, `f1` and their like need one array.
    output: `output(prediction) -> {name: array}`, what a user wants to see of a prediction (a class, not logits).
    check: `check(name, arrays)` raises a one-line `ValueError` if the labels of the numpy `arrays` cannot be used.
    checked: The keys of the labels whose values `check` looks at, so that those that do not count may hold anything.
      `mtl.data.check` looks at all other arrays.
    balance: Whether the task takes part in balancing. False: an auxiliary task, whose loss enters the objective with
      the fixed `weight`. It has a head, metrics and predictions, but no row in G, no weight of the balancer, and no
      part in Delta_m and in the choice of the best model.
    weight: The weight of an auxiliary task, a number or a function of the steps taken.
    calibration: How outputs are made to fit validation data, see `mtl.train.calibrate`; None: they are not.
    imitation: How the task learns from another model's predictions, see `mtl.compress.distilled`; None: it cannot.
    draw: `draw(axes, outputs)` draws the outputs of one example, `{name: array}`, on axes of matplotlib that show its
      image, one pixel a unit; None: they are written beside it.
    record: `record(outputs)`, what `mtl-jax predict` writes of the outputs of one example: anything that fits in JSON.

  >>> import jax.numpy as jnp
  >>> task = Task(loss=lambda prediction, batch: jnp.abs(prediction - batch["y"]))
  >>> task.loss(jnp.array([1.0, 2.0]), {"y": jnp.array([1.0, 0.0])}).tolist()
  [0.0, 2.0]

  With a metric, and the label that it reads:

  >>> from mtl_jax.tasks.metrics import r2
  >>> def label(batch):
  ...   return batch["y"]
  >>> task = Task(loss=lambda prediction, batch: jnp.abs(prediction - label(batch)), metrics={"r2": r2()}, label=label)
  >>> task.main_metric
  'r2'
  """

  loss: Callable[[Any, Mapping[str, Any]], Any]
  mask: Callable[[Mapping[str, Any]], Any] | None = None
  metrics: Mapping[str, Metric] = dataclasses.field(default_factory=dict)
  label: Callable[[Mapping[str, Any]], Any] = lambda batch: batch
  output: Callable[[Any], dict[str, Any]] = lambda prediction: {"prediction": prediction}
  check: Callable[[str, Mapping[str, Any]], None] = lambda name, arrays: None
  checked: tuple[str, ...] = ()
  balance: bool = True
  weight: Strength = 1.0
  calibration: Calibration | None = None
  imitation: Imitation | None = None
  draw: Callable[[Any, Mapping[str, Any]], None] | None = None
  record: Callable[[Mapping[str, Any]], Any] = lambda outputs: {
    name: np.asarray(values).tolist() for name, values in outputs.items()
  }

  def calibrated(self, values: Mapping[str, float]) -> Task:
    """The task with outputs that fit validation data.

    Args:
      values: What `mtl.train.calibrate` gives for the task.

    Returns:
      The task.

    Raises:
      UserError: The task knows no calibration.
    """
    if self.calibration is None:
      raise UserError(
        "the task knows no calibration, and its run has one: open the run with the tasks it was trained with."
      )
    return dataclasses.replace(self, output=self.calibration.apply(self.output, values))

  @property
  def main_metric(self) -> str:
    """The name of the metric that judges the task: the first, or the loss where there is none."""
    return next(iter(self.metrics), "loss")

  @property
  def higher_is_better(self) -> bool:
    """The direction of the main metric."""
    return bool(self.metrics) and self.metrics[self.main_metric].higher_is_better

  def judged_by(self, metric: str) -> Task:
    """The same task with another of its metrics as the main one.

    Args:
      metric: The name of the metric.

    Returns:
      The task.

    Raises:
      UserError: The task has no such metric.

    >>> import mtl_jax as mtl
    >>> mtl.tasks.regression("depth").judged_by("mae").main_metric
    'mae'
    """
    check_choice("judged_by", "metric", metric, self.metrics)
    return dataclasses.replace(self, metrics={metric: self.metrics[metric], **self.metrics})


def auxiliary(task: Task, weight: Strength = 0.1) -> Task:
  """The task as an auxiliary one: trained with a fixed weight, and not balanced.

  Args:
    task: Any task.
    weight: The weight of its loss, a number or a function of the steps taken, such as a schedule of optax.

  Returns:
    The task.

  >>> import mtl_jax as mtl
  >>> auxiliary(mtl.tasks.regression("depth"), weight=0.5).balance
  False
  """
  return dataclasses.replace(task, balance=False, weight=weight)


def with_metrics(task: Task, **metrics: Metric) -> Task:
  """The task with further metrics behind its own; one of the same name takes the place of the task's.

  Args:
    task: Any task.
    **metrics: The metrics by their names.

  Returns:
    The task.

  >>> import mtl_jax as mtl
  >>> task = with_metrics(mtl.tasks.binary("click"), log_loss=mtl.tasks.metrics.log_loss())
  >>> list(task.metrics)[-2:]
  ['recall', 'log_loss']
  """
  return dataclasses.replace(task, metrics={**task.metrics, **metrics})


def balanced(tasks: Mapping[str, Task]) -> dict[str, Task]:
  """Those that are not auxiliary, in their order: the tasks of all vectors over tasks.

  Args:
    tasks: All tasks, by name.

  Returns:
    Those with `balance=True`.
  """
  return {name: task for name, task in tasks.items() if task.balance}
