"""One trunk that each task runs in a way of its own, by a small part that only the task has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import entry, stack
from mtl_jax.arch._parts import is_float
from mtl_jax.arch._towers import towers
from mtl_jax.arch.chain import numbered, split_key
from mtl_jax.arch.hard_sharing import init_heads
from mtl_jax.net import Net


def _as_it_is(shared, state, x, **context):
  del shared, context
  return x, state


def streams(
  part: str,
  heads: Mapping[str, Net],
  init: Callable[..., Any],
  each: Callable[..., tuple[Any, Any]],
  once: Callable[..., tuple[Any, Any]] = _as_it_is,
) -> Net:
  """A multi-task net whose trunk runs once per task, all runs as one batch.

  Args:
    part: What the small parts are called in the parameters, `{"task": {name: {part: ..., "head": ...}}}`.
    heads: The heads.
    init: `init(key, x, count) -> ((shared, own), (shared_state, own_state))`, with `own` and `own_state`, the trunk's
      state in the run of a task, stacked over `count` tasks.
    each: `each(shared, own, own_state, x, *, key, train, step) -> (features, own_state)`, the run of one task.
    once: `once(shared, shared_state, x, *, key, train, step) -> (x, shared_state)`, what runs once before that.

  Returns:
    The net. It has no cut, since parameters of the tasks act inside the trunk. Batch statistics are those of a task's
    own run, since its features have a distribution of their own.
  """
  count = len(heads)

  def init_net(key, x):
    keys = jax.random.split(key, 1 + count)
    (shared, own), (state, own_state) = init(entry(keys, 0), x, count)
    x, _ = once(shared, state, x)
    features, _ = each(shared, entry(own, 0), entry(own_state, 0), x)
    made = init_heads(heads, keys, features)
    params = {name: {part: entry(own, i), "head": p} for i, (name, (p, _)) in enumerate(made.items())}
    states = {name: {"trunk": entry(own_state, i), "head": s} for i, (name, (_, s)) in enumerate(made.items())}
    return {"shared": shared, "task": params}, {"shared": state, "task": states}

  def apply(params, state, x, *, key: Any = None, **mode):
    once_key, each_key, *head_keys = split_key(key, 2 + count)
    x, shared = once(params["shared"], state["shared"], x, key=once_key, **mode)

    def one(own, own_state, key):
      return each(params["shared"], own, own_state, x, key=key, **mode)

    own = stack([params["task"][name][part] for name in heads])
    before = stack([state["task"][name]["trunk"] for name in heads])
    keys = None if each_key is None else split_key(each_key, count)
    features, after = jax.vmap(one, (0, 0, None if keys is None else 0))(own, before, keys)
    predictions, states = {}, {}
    for i, ((name, head), head_key) in enumerate(zip(heads.items(), head_keys, strict=True)):
      head_params, head_state = params["task"][name]["head"], state["task"][name]["head"]
      y, head_state = head.apply(head_params, head_state, entry(features, i), key=head_key, **mode)
      predictions[name], states[name] = y, {"trunk": entry(after, i), "head": head_state}
    return predictions, {"shared": shared, "task": states}

  return Net(init_net, apply)


def between_stages(
  name: str, trunk: Net, heads: Mapping[str, Net], part: Net, after: Callable[[int], bool] = lambda stage: True
) -> Net:
  """A multi-task net in which a part per task acts on what the stages of the trunk give.

  Args:
    name: What the parts are called in the parameters.
    trunk: The trunk, all stages of which are shared. One without stages counts as one.
    heads: The heads.
    part: A net without state, from what a stage gives to what the next one gets.
    after: Whether a part acts after the stage of that number.

  Returns:
    The net, with the shared parameters `{"stage_0": ..., ...}`. The first stage, which is alike for all tasks, runs
    once.
  """
  stages = numbered(trunk.stages or (trunk,))
  parts = {stage for i, stage in enumerate(stages) if after(i)}
  first, *rest = stages

  def adapted(stage, own, x, **context):
    return part.apply(own[stage], {}, x, **context)[0] if stage in parts else x

  def init(key, x, count):
    shared, own, state, copies = {}, {}, {}, towers(part, count)
    for (name, stage), stage_key in zip(stages.items(), jax.random.split(key, len(stages)), strict=True):
      stage_key, part_key = jax.random.split(stage_key)
      shared[name], state[name] = stage.init(stage_key, x)
      x, _ = stage.apply(shared[name], state[name], x)
      if name in parts:
        own[name], _ = copies.init(part_key, x)
        x = adapted(name, entry(own, 0), x)
    return (shared, own), ({first: state.pop(first)}, repeated(state, count))

  def once(shared, state, x, **context):
    x, after = stages[first].apply(shared[first], state[first], x, **context)
    return x, {first: after}

  def each(shared, own, state, x, *, key: Any = None, **mode):
    first_key, *keys = split_key(key, len(stages))
    x, after = adapted(first, own, x, key=first_key, **mode), {}
    for name, stage_key in zip(rest, keys, strict=True):
      stage_key, part_key = split_key(stage_key, 2)
      x, after[name] = stages[name].apply(shared[name], state[name], x, key=stage_key, **mode)
      x = adapted(name, own, x, key=part_key, **mode)
    return x, after

  return streams(name, heads, init, each, once)


def repeated(tree: Any, count: int) -> Any:
  """The tree as often, stacked."""
  return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), tree)


def of_floats(arch: str, make: Callable[[jax.Array, int], Any], key: jax.Array, x: Any) -> Any:
  """`make(key, width)` for each array of features, which are (B, ..., width); nothing for masks and indices.

  Raises:
    UserError: There is none, or one without a width.
  """
  leaves, structure = jax.tree.flatten(x)
  wrong = [leaf.shape for leaf in leaves if is_float(leaf) and leaf.ndim < 2]
  if wrong or not any(map(is_float, leaves)):
    found = f"an array of shape {wrong[0]}" if wrong else ", ".join(str(leaf.dtype) for leaf in leaves)
    raise UserError(
      f"{arch}: works on features, (B, ..., width), found a stage of the trunk that gives {found}: join it with the "
      "stage before or after it."
    )
  keys = jax.random.split(key, len(leaves))
  made = [make(own, leaf.shape[-1]) if is_float(leaf) else {} for own, leaf in zip(keys, leaves, strict=True)]
  return structure.unflatten(made)


def on_floats(function: Callable[[Any, jax.Array], jax.Array], params: Any, x: Any) -> Any:
  """`function(own, leaf)` for each array of features with its own parameters; masks and indices pass."""
  return jax.tree.map(lambda leaf, own: function(own, leaf) if is_float(leaf) else leaf, x, params)
