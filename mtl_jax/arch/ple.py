"""Progressive layered extraction: several layers of experts of all tasks and experts of each task."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

from mtl_jax._core.errors import UserError
from mtl_jax.arch._experts import gate_of, loads, mixture, softmax_of, with_own
from mtl_jax.arch._extraction import extraction, last_of_shared
from mtl_jax.arch._parts import check_count, check_parts, for_each, parted, reading
from mtl_jax.arch._towers import tower
from mtl_jax.arch.chain import chain, in_order
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def ple(
  trunk: Net,
  heads: Mapping[str, Net],
  shared_experts: int = 2,
  task_experts: int = 2,
  layers: Sequence[int] | None = None,
  shared_stages: int = 0,
  gate: Callable[[int], Net] | None = None,
) -> Net:
  r"""Layers of experts: each task mixes the shared ones and its own, and a shared gate mixes all for the next layer.

  $$ h_t^{(l)} = g_t^{(l)}(h_t^{(l-1)})^T [f_{0,i}^{(l)}(h_0^{(l-1)}), f_{t,j}^{(l)}(h_t^{(l-1)})]_{i, j}, \qquad
  h_0^{(l)} = g_0^{(l)}(h_0^{(l-1)})^T [f_{s,j}^{(l)}(h_s^{(l-1)})]_{s = 0, \ldots, T; \, j} $$

  All streams begin with the input, $h_t^{(0)} = h_0^{(0)} = x$, gates $g$ are softmax gates, and the head of task t
  reads $h_t^{(L)}$. The last layer needs no shared stream and has no shared gate.

  Args:
    trunk: Its stages are dealt to the layers: an expert of layer l is a copy of the stages of that layer.
    heads: For each task a net from what an expert of the last layer gives to its prediction.
    shared_experts: The number of shared experts in each layer, at least 0. With none, tasks share no more than
      `shared_stages`.
    task_experts: The number of experts of each task in each layer, at least 1.
    layers: For each layer how many stages it has; None: one.
    shared_stages: The first stages of the trunk that are not copied; the first layer reads what they give.
    gate: `gate(count)`, a net from what an expert gets to (B, count) logits, those of the shared experts first; None:
      linear layers on all floats of an example.

  Returns:
    The multi-task `Net`. The experts and gates of a task in the last layer belong to it, all else is shared, since the
    shared gate leads all tasks to all experts. It reports the mean weights of experts in the last batch:
    `load/<task>` for the last layer, and for each other one `load/layer_<l>`, (T, experts), and
    `load/layer_<l>/shared`.

  Raises:
    UserError: Something is no `Net`; no heads; a number of experts too small; the trunk has no more stages than
      `shared_stages`; `layers` does not deal the stages; when it is applied, a gate gives another shape.

  >>> import jax, jax.numpy as jnp, flax.linen as nn, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}
  >>> net = ple(mtl.from_linen(mtl.nn.MLP((8, 6))), heads, shared_experts=1, task_experts=1)
  >>> params, state = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((5, 4)))
  >>> sorted(params["shared"]), sorted(params["task"]["a"])
  (['experts', 'layer_0'], ['experts', 'gate', 'head'])
  >>> {name: load.shape for name, load in net.report(params, state).items()}
  {'load/a': (2,), 'load/b': (2,), 'load/layer_0': (2, 2), 'load/layer_0/shared': (3,)}

  Deviations: the gates of the tasks in each layer lie in one array, which counts as shared in all layers but the last,
  although in the layer before it each gate is reached by its own task alone.

  When to use:
    As `cgc`, for deeper trunks: what is shared and what is not is told apart step by step. Wins often where tasks
    conflict strongly.

  References:
    Tang et al., *Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized
    Recommendations*, RecSys 2020.
  """
  heads = check_parts("ple", trunk, heads)
  check_count("ple", "shared_experts", shared_experts, 0)
  check_count("ple", "task_experts", task_experts)
  stem, rest = parted("ple", trunk, shared_stages)
  *lower, last = _dealt(rest.stages or (rest,), layers)
  count, deep = len(heads), bool(lower)

  def made(experts):
    return gate_of("ple", None if gate is None else gate(experts), experts)

  parts = {} if stem is None else {"stem": stem}
  for i, stage in enumerate(lower):
    parts[f"layer_{i}"] = extraction(stage, count, shared_experts, task_experts, made, first=i == 0)
  parts["experts"] = last_of_shared(last, count, shared_experts, first=not deep)

  own, mix = with_own(last, task_experts), mixture(softmax_of(made(shared_experts + task_experts)))
  own_parts = for_each(heads, lambda head: in_order({"experts": own, "gate": mix, "head": head}))
  if deep:
    own_parts = {name: reading(part, _stream(i)) for i, (name, part) in enumerate(own_parts.items())}

  def report(params, state):
    found = loads(params, state)
    for i in range(len(lower)):
      load = state["shared"][f"layer_{i}"]["load"]
      found[f"load/layer_{i}"] = load["gates"]
      if shared_experts:
        found[f"load/layer_{i}/shared"] = load["shared_gate"]
    return found

  return dataclasses.replace(hard_sharing(in_order(parts), own_parts), report=report)


def _dealt(stages: Sequence[Net], layers: Sequence[int] | None) -> list[Net]:
  """What an expert of each layer is."""
  counts = [1] * len(stages) if layers is None else list(layers)
  if sum(counts) != len(stages) or min(counts, default=0) < 1:
    raise UserError(
      f"ple: layers is {counts}, but there are {len(stages)} stages to deal: expected numbers of at least 1 whose sum "
      f"is {len(stages)}."
    )
  ends = list(itertools.accumulate(counts))
  parts = [stages[end - size : end] for end, size in zip(ends, counts, strict=True)]
  return [chain(*part) if part[1:] else part[0] for part in parts]


def _stream(number: int):
  """A function that gives of the features what the task of that number reads."""
  return lambda features: {**features, "input": tower(number)(features["input"])}
