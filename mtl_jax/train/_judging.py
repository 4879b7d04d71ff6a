"""The metrics of many tasks on a batch as few programs, and their states of several batches as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.axes import behind
from mtl_jax._core.inputs import Keys, input_of
from mtl_jax._core.packed import entry, groups_of, is_packed
from mtl_jax._jaxpr.alike import merged
from mtl_jax._jaxpr.branches import Branch, Head, judged
from mtl_jax.net import Net
from mtl_jax.tasks import Task
from mtl_jax.train._packing import packed_heads

Names = tuple[str, ...]
Judge = Callable[[str, Any, Any], Any]
"""`judge(task, prediction, batch)`: what is made of a task's prediction."""


def judge_all(
  net: Net, keys: Mapping[str, Keys], judge: Judge, params: Any, state: Any, batch: Any
) -> dict[Names, Any]:
  """What is made of all predictions: of groups of alike tasks along a leading axis, of others one by one.

  Args:
    net: The net.
    keys: The input of each task. Where the net has a cut, a head runs on the input of its task alone.
    judge: What is made of them.
    params: The net's parameters.
    state: Its state.
    batch: The batch.
  """
  inputs = dict.fromkeys(keys.values())
  if net.cut is None:
    outputs = {key: net.apply(params, state, input_of(batch, key))[0] for key in inputs}
    return {(name,): judge(name, outputs[key][name], batch) for name, key in keys.items()}
  cut = net.cut

  def trunk(p, s, x, key):
    return cut.trunk(p, s, x)

  def head(name: str) -> Head:
    def predict(p, s, features, key):
      return cut.heads[name](p, s, features)

    return Head(predict, lambda prediction, batch: judge(name, prediction, batch), cut.heads[name])

  def branch(key: Keys) -> Branch:
    return Branch(trunk, {name: head(name) for name, own in keys.items() if own == key}, lambda b: input_of(b, key))

  return judged([branch(key) for key in inputs], params, state, batch)


def together(net: Net, params: Any, state: Any) -> tuple[Any, Any]:
  """Parameters and state with equal heads of many tasks in one tree each."""
  if net.cut is None or is_packed(params["task"]):
    return params, state
  groups = groups_of({name: (params["task"][name], state["task"][name]) for name in params["task"]})
  return packed_heads((params, state), groups)


def by_task(found: Mapping[Names, Any], order: Iterable[str]) -> dict[str, Any]:
  """What `judge_all` makes, task by task."""
  each = {}
  for names, made in found.items():
    for i, name in enumerate(names):
      each[name] = entry(made, i) if names[1:] else made
  return {name: each[name] for name in order}


def weights_of(task: Task, batch: Any, valid: Any) -> jax.Array:
  """The weights of the examples of a batch, those of the task's mask, and 0 for filling; `valid` None: in the mask."""
  if task.mask is None:
    return valid
  weights = jnp.asarray(task.mask(batch)).astype(jnp.float32)
  return weights if valid is None else weights * behind(valid, weights.ndim)


def merger(names: Names, key: str, tasks: Mapping[str, Mapping[str, Any]], like: Any) -> Callable[..., Any] | None:
  """`merge(one, other)` of a metric's states of a group of tasks; None: they can be merged on the host alone.

  Args:
    names: The group.
    key: The name of the metric.
    tasks: The metrics of each task.
    like: The shapes of the state of the group, along a leading axis if it has several names.
  """
  one = like if not names[1:] else jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), like)
  shape_of = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)  # noqa: E731
  programs = []
  for name in names:
    try:
      program, made = jax.make_jaxpr(lambda a, b, m=tasks[name][key]: m.merge([a, b]), return_shape=True)(one, one)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):  # a function of numpy arrays
      return None
    if shape_of(made) != shape_of(one):
      return None
    programs.append(program)
  found = merged(programs)
  if found is None or not all(source.common for source in found.sources):
    return None

  def merge(a, b):
    made = found.on(jax.tree.leaves((a, b)), [source.each[0] for source in found.others])
    return jax.tree.unflatten(jax.tree.structure(a), made)

  return jax.vmap(merge) if names[1:] else merge


def values_of(
  names: Names, key: str, tasks: Mapping[str, Mapping[str, Any]], states: Sequence[Any]
) -> dict[str, float]:
  """The metric of each task of a group, from its states on the host."""
  found = {}
  for i, name in enumerate(names):
    own = [entry(state, i) if names[1:] else state for state in states]
    metric = tasks[name][key]
    found[name] = float(metric.compute(metric.merge(own)))
  return found
