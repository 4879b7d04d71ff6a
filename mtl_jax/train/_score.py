"""Which evaluation of a run is the best: scores of `{task: {metric: value}}`, lower is better."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.mixture import Mixture
from mtl_jax.tasks import Task
from mtl_jax.train._evaluate import Metrics


@dataclasses.dataclass(frozen=True)
class Best:
  """The best evaluation so far, and what scores need to know of those before; all of it fits in JSON.

  Attributes:
    score: Its score.
    step: Its step, 0 before any evaluation had a finite score.
    evaluations_since: How many came after it.
    losses: Its validation loss of each task.
    signed: The tasks that have had a loss of zero or below.
  """

  score: float = math.inf
  step: int = 0
  evaluations_since: int = 0
  losses: Mapping[str, float] = dataclasses.field(default_factory=dict)
  signed: Sequence[str] = ()


def mean_loss(metrics: Metrics) -> float:
  """The mean validation loss over tasks, a score for losses of one unit and of any sign.

  Args:
    metrics: `{task: {metric: value}}`, as the option `score` of `fit` gets them.

  Returns:
    The score, lower is better; NaN where a loss is not finite.

  >>> mean_loss({"a": {"loss": -3.0}, "b": {"loss": 1.0}})
  -1.0
  """
  return _mean(_losses(metrics))


def mean_metric(names: str | Mapping[str, str]) -> Callable[[Metrics], float]:
  r"""A score by which the best model is that of the greatest mean of a metric of each task.

  $$ -\frac1T \sum_t m_t $$

  Losses may rise while accuracies still grow: a network becomes too sure of what it says.

  Args:
    names: The metric of all tasks, such as `"accuracy"`, or `{task: metric}`; of metrics of which higher is better.

  Returns:
    The score, lower is better, for the option `score` of `fit`. Tasks whose metric is not defined, NaN, are left out;
    NaN if none is left.

  Raises:
    UserError: From the score: a task has no such metric, or none is named for it.

  >>> score = mean_metric({"a": "accuracy", "b": "r2"})
  >>> score({"a": {"accuracy": 0.75, "loss": 0.1}, "b": {"r2": 0.25, "loss": 2.0}})
  -0.5
  """

  def score(metrics: Metrics) -> float:
    found = np.array([_metric(task, own, names) for task, own in metrics.items()])
    return -float(np.mean(found[~np.isnan(found)])) if not np.isnan(found).all() else math.nan

  return score


def _metric(task: str, metrics: Mapping[str, float], names: str | Mapping[str, str]) -> float:
  name = names if isinstance(names, str) else names.get(task)
  if name is None or name not in metrics:
    known = ", ".join(metrics)
    raise UserError(f"mean_metric: {name!r} of task {task!r}, expected one of its metrics: {known}.")
  return metrics[name]


def judge(
  best: Best, step: int, metrics: Metrics, score: Callable[[Metrics], float] | None, warn: Callable[[str], None]
) -> Best:
  r"""The best evaluation after one more, which is the best if its step is.

  Without a score of the user's, an evaluation's is $\frac1T \sum_t s_t$ with $s_t = \log l_t$: a task counts by the
  relative change of its loss, so units and magnitudes do not matter. A loss of zero or below has no logarithm. From the
  first such evaluation on the task counts by $s_t = l_t$, that of the best evaluation so far included. That is as free
  of units where the loss is a log likelihood, which a change of units only shifts.

  Args:
    best: The best before.
    step: The step of the evaluation.
    metrics: `{task: {metric: value}}` of tasks with labels.
    score: As in `fit`.
    warn: Told once a task whose loss has no logarithm.

  Returns:
    The best after it.

  Raises:
    UserError: The score is no number.
  """
  losses = _losses(metrics)
  if score is None:
    below = [name for name, loss in losses.items() if loss <= 0 and name not in best.signed]
    if below:
      warn(_told(below, losses))
      best = dataclasses.replace(best, signed=(*best.signed, *below))
      if best.step:
        best = dataclasses.replace(best, score=_mean(_terms(best.losses, best.signed)))
    value = _mean(_terms(losses, best.signed))
  else:
    value = _number(score(metrics))
  if value < best.score:
    return Best(value, step, 0, losses, best.signed)
  return dataclasses.replace(best, evaluations_since=best.evaluations_since + 1)


def labelled(tasks: Mapping[str, Task], valid: Any, warn: Callable[[str], None]) -> list[str]:
  """The tasks that can be scored: those with labels in the validation data. The others are told to `warn`.

  Raises:
    UserError: There is none.
  """
  parts = valid.parts(tasks, "") if isinstance(valid, Mixture) else [("", valid, tasks, "")]
  has = {
    name: task.mask is None or _has_label(task.mask, source)
    for _, source, some, _ in parts
    for name, task in some.items()
  }
  found = [name for name in tasks if has[name]]
  if not found:
    raise UserError(f"the validation data have no label of any task ({', '.join(tasks)}): leave out valid=.")
  missing = [repr(name) for name in tasks if name not in found]
  if missing:
    what = f"tasks {', '.join(missing)} have" if missing[1:] else f"task {missing[0]} has"
    warn(f"{what} no labels in the validation data: left out of the score by which the best model is chosen.")
  return found


def _has_label(mask: Callable[[Mapping[str, Any]], Any], valid: Any) -> bool:
  from mtl_jax import data

  return any(np.any(np.asarray(mask(batch)) > 0) for batch, _ in data.pad_batches(valid, 256))


def _losses(metrics: Metrics) -> dict[str, float]:
  return {name: values["loss"] for name, values in metrics.items()}


def _terms(losses: Mapping[str, float], signed: Sequence[str]) -> dict[str, float]:
  return {name: loss if name in signed else math.log(loss) for name, loss in losses.items()}


def _mean(terms: Mapping[str, float]) -> float:
  """Their mean, NaN where one is infinite: no loss of a model worth keeping, with either sign."""
  values = list(terms.values())
  return float(np.mean(values)) if np.isfinite(values).all() else math.nan


def _told(names: Sequence[str], losses: Mapping[str, float]) -> str:
  each = ", ".join(f"{losses[name]:.3g} of task {name!r}" for name in names)
  return (
    f"a validation loss of zero or below has no logarithm, found {each}: from now on the score of an evaluation counts "
    "the loss itself there, as suits log likelihoods; see the option score= of fit, such as mtl.train.mean_loss."
  )


def _number(value: Any) -> float:
  try:
    return float(value)
  except (TypeError, ValueError) as error:
    raise UserError(f"score returned {value!r}, expected a number, lower is better.") from error
