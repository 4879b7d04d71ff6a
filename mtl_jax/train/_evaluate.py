"""Evaluation: every metric of every task over a data set, and predictions in the user's terms."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import shard
from mtl_jax._core import devices
from mtl_jax._core.axes import behind
from mtl_jax._core.checks import check_numbers
from mtl_jax._core.inputs import Inputs, input_keys, input_of, keys_read
from mtl_jax.data.arrays import as_arrays, check_lengths
from mtl_jax.data.checking import check_inputs
from mtl_jax.net import Net
from mtl_jax.problem import of_problem
from mtl_jax.tasks import Task
from mtl_jax.tasks.loss import check_shapes
from mtl_jax.tasks.metrics import Metric
from mtl_jax.tasks.metrics import mean as mean_metric

Metrics = dict[str, dict[str, float]]


@of_problem
def make_predict(net: Net, tasks: Mapping[str, Task], inputs: Inputs = "x") -> Callable[..., dict[str, Any]]:
  """A pure function `(params, state, batch) -> {task: prediction}`, the net in evaluation mode."""
  keys = input_keys(tasks, inputs)

  def predict(params, state, batch):
    outputs = {key: net.apply(params, state, input_of(batch, key))[0] for key in dict.fromkeys(keys.values())}
    return {name: outputs[keys[name]][name] for name in tasks}

  return predict


_LOSS = mean_metric(lambda losses, label: losses, higher_is_better=False)


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
  """A function `(params, state, data) -> {task: {metric: value}}` over a whole data set, arrays or any source.

  Each batch is one jitted call that returns metric states, which are moved to the host; there they are merged and
  computed once at the end. The last batch is padded, and padding counts for nothing.

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
  predict = make_predict(net, tasks, inputs)

  def batch_states(params, state, batch, valid):
    with devices.on(mesh):
      return on_devices(params, state, batch, valid)

  def on_devices(params, state, batch, valid):
    predictions = predict(params, state, batch)
    states = {}
    for name, task in tasks.items():
      weights = valid
      if task.mask is not None:
        weights = jnp.asarray(task.mask(batch)).astype(jnp.float32)
        weights *= behind(valid, weights.ndim)
      losses, label = jnp.asarray(task.loss(predictions[name], batch)), task.label(batch)
      check_shapes(name, losses, weights)
      states[name] = {key: metric.update(predictions[name], label, weights) for key, metric in task.metrics.items()}
      states[name]["loss"] = _LOSS.update(losses, label, weights)
    return states

  placement = None if mesh is None else shard.batch_sharding(mesh)
  everywhere = None if mesh is None else jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  jitted = jax.jit(batch_states, out_shardings=everywhere)
  pieces = 1 if mesh is None else mesh.shape[devices.DATA]

  def evaluate(params, state, examples):
    source = data.as_source(examples)
    size = min(batch_size, len(source))
    batches = data.pad_batches(source, -(-size // pieces) * pieces)
    if placement is not None:
      batches = (shard.place(batch, placement) for batch in batches)
    parts = list(_on_host(jitted(params, state, batch, valid) for batch, valid in batches))
    return {
      name: {
        key: float(metric.compute(metric.merge([part[name][key] for part in parts])))
        for key, metric in all_metrics(task).items()
      }
      for name, task in tasks.items()
    }

  return evaluate


def _on_host(states: Iterator[Any]) -> Iterator[Any]:
  """Each batch's states as numpy arrays, read after the next batch has been handed to the devices.

  So these need not wait for the host, and never hold the states of more than three batches.
  """
  for done, _ in itertools.pairwise(itertools.chain(states, [None])):
    yield jax.device_get(done)


@of_problem
def predict_all(
  net: Net,
  tasks: Mapping[str, Task],
  params: Any,
  state: Any,
  arrays: Mapping[str, Any],
  inputs: Inputs = "x",
  *,
  batch_size: int = 256,
) -> dict[str, dict[str, np.ndarray]]:
  """What each task's `output` says of every example: `{task: {name: (N, ...)}}`.

  Raises:
    UserError: An input is missing, or holds numbers that JAX would change (see `mtl.data.check`).
  """
  from mtl_jax import data

  check_numbers({"batch_size": batch_size})
  predict = make_predict(net, tasks, inputs)
  run = jax.jit(lambda p, s, batch: {name: tasks[name].output(y) for name, y in predict(p, s, batch).items()})
  keys = keys_read(inputs)
  arrays = as_arrays({key: input_of(arrays, key, "data") for key in keys})
  size = min(batch_size, check_lengths(arrays))
  check_inputs(arrays, keys)
  parts = []
  for batch, valid in data.pad_batches(arrays, size):
    outputs = jax.device_get(run(params, state, batch))
    count = int(valid.sum())
    parts.append(jax.tree.map(lambda a, count=count: a[:count], outputs))
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
