"""The layers of progressive layered extraction: streams of features, one that is shared and one for each task.

Streams lie in one tree of arrays, (1 + T, B, ...), the shared one first; without shared experts there is none, (T, B,
...). The first layer reads one input, (B, ...), in the place of all streams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax.arch._experts import concatenated, even_load, fan, mean_load, mixed, softmax_of
from mtl_jax.arch._parts import reading
from mtl_jax.arch._towers import examples_first, towers
from mtl_jax.arch.chain import split_key
from mtl_jax.net import Net


def extraction(stage: Net, tasks: int, shared: int, own: int, gate: Callable[[int], Net], first: bool) -> Net:
  """A layer that is not the last: every stream becomes a mixture of experts that read streams.

  The stream of a task mixes the shared experts and its own; the shared stream mixes those of all.

  Args:
    stage: What each expert is.
    tasks: T.
    shared: The number of shared experts; they come first.
    own: The number of experts of each task.
    gate: Makes of a number of experts a gate, a net to (B, experts) logits.
    first: It reads one input.

  Returns:
    The net, with the parameters `{"experts": ..., "gates": ..., "shared_gate": ...}`.
  """
  total = shared + tasks * own

  def for_experts(h):
    if first:
      return h
    return jax.tree.map(lambda leaf: jnp.concatenate([*[leaf[:1]] * shared, jnp.repeat(leaf[-tasks:], own, axis=0)]), h)

  def for_tasks(h):
    return h if first else jax.tree.map(lambda leaf: leaf[-tasks:], h)

  def for_all(h):
    return h if first else jax.tree.map(lambda leaf: leaf[0], h)

  parts = {
    "experts": reading(towers(stage, total, own_inputs=not first), for_experts),
    "gates": reading(towers(softmax_of(gate(shared + own)), tasks, own_inputs=not first), for_tasks),
  }
  load: dict[str, tuple[int, ...]] = {"gates": (tasks, shared + own)}
  if shared:
    parts["shared_gate"], load["shared_gate"] = reading(softmax_of(gate(total)), for_all), (total,)

  def init(key, h):
    params, state = {}, {"load": {name: even_load(*shape) for name, shape in load.items()}}
    for (name, part), part_key in zip(parts.items(), jax.random.split(key, len(parts)), strict=True):
      params[name], state[name] = part.init(part_key, h)
    return params, state

  def apply(params, state, h, *, key: Any = None, train: bool = False, step: Any = None):
    y, after = {}, {"load": state["load"]}
    for (name, part), part_key in zip(parts.items(), split_key(key, len(parts)), strict=True):
      y[name], after[name] = part.apply(params[name], state[name], h, key=part_key, train=train, step=step)
    everyone = examples_first(y["experts"])
    common = jax.tree.map(lambda leaf: leaf[:, :shared], everyone)
    theirs = jax.tree.map(lambda leaf: jnp.stack(jnp.split(leaf[:, shared:], tasks, axis=1)), everyone)
    of_task = jax.vmap(lambda weights, mine: mixed(weights, concatenated(common, mine, axis=1)))
    streams = of_task(y["gates"], theirs)
    if shared:
      mixture = mixed(y["shared_gate"], everyone)
      streams = concatenated(jax.tree.map(lambda leaf: leaf[None], mixture), streams, axis=0)
    if train:
      means = {"gates": jax.vmap(mean_load), "shared_gate": mean_load}
      after["load"] = {name: means[name](y[name]) for name in load}
    return streams, after

  return Net(init, apply)


def last_of_shared(stage: Net, tasks: int, shared: int, first: bool) -> Net:
  """The shared experts of the last layer.

  Returns:
    The net `streams -> {"experts": (B, shared, ...), "input": (B, T, ...)}`, without `"experts"` where there are none.
    The input is that of the tasks' own experts and gates, (B, ...) where this is the first layer.
  """
  if first and shared:
    return fan(stage, shared)
  copies = towers(stage, shared) if shared else Net(lambda key, x: ({}, {}), lambda params, state, x: ({}, state))

  def for_experts(streams):
    return jax.tree.map(lambda leaf: leaf[0], streams)

  def init(key, streams):
    return copies.init(key, for_experts(streams))

  def apply(params, state, streams, **context):
    y, state = copies.apply(params, state, for_experts(streams), **context)
    inputs = streams if first else examples_first(jax.tree.map(lambda leaf: leaf[-tasks:], streams))
    return {"experts": examples_first(y), "input": inputs} if shared else {"input": inputs}, state

  return Net(init, apply)
