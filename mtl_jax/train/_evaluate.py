"""Evaluation: every metric of every task over a data set, and predictions in the user's terms."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import shard
from mtl_jax._core import devices
from mtl_jax._core.checks import check_numbers
from mtl_jax._core.errors import UserError
from mtl_jax._core.inputs import Inputs, Keys, input_keys, input_of, keys_read
from mtl_jax.data.arrays import as_arrays, check_lengths
from mtl_jax.data.checking import check_inputs
from mtl_jax.data.mixed import padded
from mtl_jax.net import Net
from mtl_jax.problem import of_problem
from mtl_jax.tasks import Task
from mtl_jax.tasks.loss import check_shapes
from mtl_jax.tasks.metrics import Metric
from mtl_jax.tasks.metrics import mean as mean_metric
from mtl_jax.train._judging import Names, by_task, judge_all, merger, together, values_of, weights_of

Metrics = dict[str, dict[str, float]]
"""What an evaluation returns, `{task: {metric: value}}`."""


@of_problem
def make_predict(net: Net, tasks: Mapping[str, Task], inputs: Inputs = "x") -> Callable[..., dict[str, Any]]:
  """The net in evaluation mode, as a pure function to be jitted.

  Args:
    net: The multi-task net.
    tasks: The tasks to predict.
    inputs: As in `mtl.objective`.

  Returns:
    `predict(params, state, batch) -> {task: prediction}`.
  """
  keys = input_keys(tasks, inputs)

  def predict(params, state, batch):
    params, state = together(net, params, state)
    return by_task(judge_all(net, keys, lambda name, prediction, _: prediction, params, state, batch), tasks)

  return predict


_LOSS = mean_metric(lambda losses, label: losses, higher_is_better=False)


def evaluation_size(batch_size: int | None, accumulate: int = 1) -> int:
  """How many examples an evaluation takes at a time, to fit where a training step of that batch size does.

  It keeps nothing for a backward pass, so it can take four times as many as a step has in memory.

  Args:
    batch_size: Examples a step; None: it is not known.
    accumulate: Pieces a batch is cut into.

  Returns:
    The number, 256 at most.

  >>> evaluation_size(None), evaluation_size(128), evaluation_size(12), evaluation_size(128, accumulate=16)
  (256, 256, 48, 32)
  """
  return 256 if batch_size is None else min(256, -(-4 * batch_size // accumulate))


def all_metrics(task: Task) -> dict[str, Metric]:
  """The task's metrics, and the mean of its losses."""
  return {**task.metrics, "loss": _LOSS}


@of_problem
def make_evaluate(
  net: Net,
  tasks: Mapping[str, Task],
  inputs: Inputs = "x",
  *,
  batch_size: int = 256,
  mesh: jax.sharding.Mesh | None = None,
) -> Callable[[Any, Any, Any], Metrics]:
  """A function `(params, state, data) -> {task: {metric: value}}` over a whole data set, any source or mixture.

  Each batch is one jitted call that makes metric states; those that do not grow are merged on the devices, others on
  the host (see `mtl.tasks.metrics.Metric`). The last batch is padded, and padding counts for nothing.

  Args:
    net: The multi-task net.
    tasks: The tasks; every metric of each, and `loss`, is computed over its labelled examples.
    inputs: As in `mtl.objective`.
    batch_size: Examples a call.
    mesh: Divide each batch over the axis `data` of this mesh. Every process passes the same data.

  Returns:
    The function; it compiles at its first call only.

  Raises:
    UserError: The batch size is below 1.
  """
  from mtl_jax import data

  check_numbers({"batch_size": batch_size})
  pieces = 1 if mesh is None else shard.batch_sharding(mesh).mesh.shape[devices.DATA]
  by_layout: dict[Any, Callable[..., Metrics]] = {}

  def batches_of(examples):
    source = data.as_source(examples)
    size = min(batch_size, len(source))
    return data.pad_batches(source, -(-size // pieces) * pieces)

  def evaluate(params, state, examples):
    mixture = data.as_mixture(examples, tasks, inputs, "the data to evaluate on")
    layout = None if mixture is None else tuple(mixture.tasks.items())
    if layout not in by_layout:
      seen = (tasks, input_keys(tasks, inputs)) if mixture is None else mixture.through(tasks, inputs, filled=True)
      by_layout[layout] = _evaluation(net, *seen, mesh)
    batches = batches_of(examples) if mixture is None else ((b, None) for b in padded(mixture, batch_size, pieces))
    return by_layout[layout](params, state, batches)

  return evaluate


def _evaluation(
  net: Net, tasks: Mapping[str, Task], keys: Mapping[str, Keys], mesh: jax.sharding.Mesh | None
) -> Callable[[Any, Any, Iterator[tuple[Any, Any]]], Metrics]:
  """A function `(params, state, batches) -> {task: {metric: value}}`; with each batch the weights of its examples."""
  metrics = {name: all_metrics(task) for name, task in tasks.items()}
  merges: dict[tuple[Names, str], Any] = {}

  def batch_states(params, state, batch, valid):
    with devices.on(mesh):
      return judge_all(net, keys, functools.partial(states_of, valid), params, state, batch)

  def states_of(valid, name, prediction, batch):
    task = tasks[name]
    losses, label = jnp.asarray(task.loss(prediction, batch)), task.label(batch)
    weights = weights_of(task, batch, valid)
    check_shapes(name, losses, weights)
    states = {key: metric.of_batch(prediction, label, weights, batch) for key, metric in task.metrics.items()}
    return {**states, "loss": _LOSS.update(losses, label, weights)}

  def add(one, other):
    return {place: merges[place](state, other[place]) for place, state in one.items()}

  placement = None if mesh is None else shard.batch_sharding(mesh)
  everywhere = None if mesh is None else jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  jitted = jax.jit(batch_states, out_shardings=everywhere)
  merge = jax.jit(add, donate_argnums=0, out_shardings=everywhere)

  def run(params, state, batches):
    params, state = together(net, params, state)
    if placement is not None:
      batches = (shard.place(batch, placement) for batch in batches)
    each = (
      {(names, key): one for names, own in jitted(params, state, batch, valid).items() for key, one in own.items()}
      for batch, valid in batches
    )
    total, rest = {}, [next(each)]
    for states in each:
      if not total:
        merges.update({place: merger(*place, metrics, one) for place, one in states.items() if place not in merges})
        total = {place: one for place, one in rest[0].items() if merges[place] is not None}
        rest[0] = {place: one for place, one in rest[0].items() if place not in total}
      total = merge(total, {place: states[place] for place in total})
      # Read after the next batch has been handed to the devices, so that these need not wait.
      rest[-1] = jax.device_get(rest[-1])
      rest.append({place: one for place, one in states.items() if place not in total})
    rest[-1], done = jax.device_get((rest[-1], total))
    of_each: dict[str, dict[str, float]] = {name: {} for name in tasks}
    for names, key in (*done, *rest[0]):
      states = [done[names, key]] if (names, key) in done else [one[names, key] for one in rest]
      for name, value in values_of(names, key, metrics, states).items():
        of_each[name][key] = value
    return {name: {key: of_each[name][key] for key in metrics[name]} for name in tasks}

  return run


@of_problem
def predict_all(
  net: Net,
  tasks: Mapping[str, Task],
  params: Any,
  state: Any,
  arrays: Any,
  inputs: Inputs = "x",
  *,
  batch_size: int = 256,
) -> dict[str, dict[str, np.ndarray]]:
  """What each task's `output` says of every example of a data set, such as classes and their probabilities.

  Args:
    net: The multi-task net.
    tasks: The tasks to predict.
    params: The parameters, for example `mtl.Fit.params`.
    state: The net's state that goes with them.
    arrays: The inputs, `{key: (N, ...)}`; no labels are needed.
    inputs: As in `mtl.objective`.
    batch_size: Examples a call.

  Returns:
    `{task: {name: (N, ...)}}`, numpy arrays.

  Raises:
    UserError: The data are no arrays; an input is missing, or holds numbers that JAX would change (see
      `mtl.data.check`); the batch size is below 1.
  """
  from mtl_jax import data

  check_numbers({"batch_size": batch_size})
  if not isinstance(arrays, Mapping):
    raise UserError(
      f"the data to predict from are a {type(arrays).__name__}, expected a dictionary of arrays {{key: (N, ...)}}."
    )
  keys = keys_read(inputs)
  arrays = as_arrays({key: input_of(arrays, key, "data") for key in keys})
  size = min(batch_size, check_lengths(arrays))
  check_inputs(arrays, keys)
  run = predictor(net, tasks, params, state, inputs)
  parts = []
  for batch, valid in data.pad_batches(arrays, size):
    count = int(valid.sum())
    parts.append(jax.tree.map(lambda a, count=count: a[:count], run(batch)))
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@of_problem
def predictor(
  net: Net, tasks: Mapping[str, Task], params: Any, state: Any, inputs: Inputs = "x"
) -> Callable[[Mapping[str, Any]], dict[str, dict[str, np.ndarray]]]:
  """What each task's `output` says of a batch, as a function that compiles once for each size of a batch."""
  keys = input_keys(tasks, inputs)
  params, state = together(net, params, state)

  @jax.jit
  def run(params, state, batch):
    return judge_all(net, keys, lambda name, prediction, _: tasks[name].output(prediction), params, state, batch)

  return lambda batch: by_task(jax.device_get(run(params, state, batch)), tasks)
