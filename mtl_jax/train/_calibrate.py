"""`calibrate`, what validation data say of a trained model's probabilities and errors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax

from mtl_jax._core.errors import UserError
from mtl_jax._core.inputs import Inputs
from mtl_jax.data.mixture import as_mixture
from mtl_jax.net import Net
from mtl_jax.problem import Problem, of_problem
from mtl_jax.tasks import Task
from mtl_jax.train._evaluate import Metrics, make_evaluate


@of_problem
def calibrate(
  net: Net,
  tasks: Mapping[str, Task],
  params: Any,
  state: Any,
  valid: Any,
  inputs: Inputs = "x",
  *,
  batch_size: int = 256,
  mesh: jax.sharding.Mesh | None = None,
) -> Metrics:
  """The numbers that calibrate the outputs of each task, taken from validation data.

  Args:
    net: The multi-task net.
    tasks: The tasks.
    params: The parameters, for example `mtl.Fit.params`.
    state: The net's state that goes with them.
    valid: Examples that the model was not trained on, as `fit` takes them.
    inputs: As in `mtl.objective`.
    batch_size: Examples a call.
    mesh: As in `make_evaluate`.

  Returns:
    `{task: {name: value}}`, for `Task.calibrated`: the temperature of probabilities, the radius of intervals. Tasks
    without a calibration, or without enough labels for it, are left out.

  >>> import jax.numpy as jnp, numpy as np, mtl_jax as mtl
  >>> net = mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: ({"size": x[:, 0]}, state))
  >>> data = {"x": np.zeros((9, 1), np.float32), "size": np.arange(9.0, dtype=np.float32)}
  >>> calibrate(net, {"size": mtl.tasks.regression("size")}, {}, {}, data)
  {'size': {'radius': 8.0}}
  """
  asked = {
    name: dataclasses.replace(task, metrics=task.calibration.fitted)
    for name, task in tasks.items()
    if task.calibration is not None
  }
  if not asked:
    return {}
  mixed = as_mixture(valid, tasks, inputs, "the validation data")
  evaluate = make_evaluate(net, asked, inputs, batch_size=batch_size, mesh=mesh)
  found = evaluate(params, state, valid if mixed is None else mixed.only(asked))
  values = {name: {key: own[key] for key in asked[name].metrics} for name, own in found.items()}
  return {name: own for name, own in values.items() if all(map(math.isfinite, own.values()))}


def calibrated(problem: Problem, values: Mapping[str, Mapping[str, float]]) -> Problem:
  """The problem, with the outputs of those tasks calibrated that there are values for.

  Args:
    problem: The net with its tasks.
    values: From `calibrate`.

  Returns:
    The problem; `mtl.train.predict_all` of it gives calibrated outputs.

  Raises:
    UserError: The values are not those that a task's calibration has, or none above 0 and finite.
  """
  for name in values.keys() & problem.tasks.keys():
    _check(name, problem.tasks[name], values[name])
  tasks = {name: task.calibrated(values[name]) if name in values else task for name, task in problem.tasks.items()}
  return dataclasses.replace(problem, tasks=tasks)


def _check(name: str, task: Task, values: Mapping[str, float]) -> None:
  expected = {} if task.calibration is None else task.calibration.fitted
  if values.keys() != expected.keys() or not all(0 <= value < math.inf for value in values.values()):
    wanted = ", ".join(expected) or "nothing, it has no calibration"
    raise UserError(f"task {name!r} is calibrated by {dict(values)}, expected {wanted}, of 0 and above.")
