"""MTLoRA: low-rank updates that all tasks share, and in the last stages one per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import jax

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax.arch._low_rank import check_kernels, factors, kernels_in, updated, updates
from mtl_jax.arch._parts import check_count, check_parts
from mtl_jax.arch._streams import repeated, streams
from mtl_jax.arch.chain import in_order, numbered
from mtl_jax.net import Net


def mtlora(
  trunk: Net,
  heads: Mapping[str, Net],
  rank: int = 64,
  task_rank: int = 4,
  scale: float = 4.0,
  task_scale: float = 4.0,
  mode: Literal["matrix", "matrixv2"] = "matrix",
  task_stages: int = 1,
  kernels: str = r"(^|/)kernel$",
) -> Net:
  r"""A trunk with one low-rank update for all tasks, whose last stages have an update for each task.

  $$ W + s B A \text{ in the first stages,} \qquad W + s_t B_t A_t \;[{} + s B A] \text{ in the last ones} $$

  The term in brackets is there in the mode `"matrixv2"`. A starts at random and B at zero, so it is hard sharing at
  first. Factors lie in the parameters as in `lora`.

  Args:
    trunk: A trunk; one without stages counts as one stage.
    heads: For each task a net from what the trunk gives to its prediction.
    rank: That of A and B, at least 0.
    task_rank: That of $A_t$ and $B_t$, at least 0.
    scale: s.
    task_scale: $s_t$.
    mode: Whether the shared update is left out where tasks have their own (`"matrix"`), or added to it (`"matrixv2"`).
    task_stages: How many of the stages that have such kernels, the last ones, have updates per task, at least 1.
    kernels: A regular expression, searched for in the paths of the trunk's parameters, as in `lora`.

  Returns:
    The multi-task `Net`. Trunk and shared factors are shared, as `{"trunk": ..., "lora": ...}`; the tasks' factors,
    heads and batch statistics of the last stages are theirs. The first stages run once, the last ones once per task.
    The net has no cut. To train factors and heads alone, freeze `^shared/trunk/`.

  Raises:
    UserError: Something is no `Net`; no heads; an option is out of range; when it is initialised, no kernel matches, or
      fewer stages than `task_stages` have one.

  >>> import jax.numpy as jnp, flax.linen as nn, mtl_jax as mtl
  >>> net = mtlora(mtl.from_linen(mtl.nn.MLP((8, 8))), {"kind": mtl.from_linen(nn.Dense(3))}, rank=3, task_rank=2)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> list(params["shared"]["lora"]), list(params["task"]["kind"]["lora"])
  (['stage_0/Dense_0/kernel'], ['stage_1/Dense_1/kernel'])

  Deviations: the paper has task updates in the last block of each stage, for heads that read maps of all stages; here
  heads read the last stage, so that earlier ones would have no effect. There is no dropout on the input of an update.

  When to use:
    As `lora`, where tasks have something in common that the pretrained trunk does not know.

  References:
    Agiza et al., *MTLoRA: A Low-Rank Adaptation Approach for Efficient Multi-Task Learning*, CVPR 2024.
  """
  heads = check_parts("mtlora", trunk, heads)
  check_count("mtlora", "rank", rank, 0)
  check_count("mtlora", "task_rank", task_rank, 0)
  check_count("mtlora", "task_stages", task_stages)
  check_choice("mtlora", "mode", mode, ("matrix", "matrixv2"))
  stages = numbered(trunk.stages or (trunk,))

  def cut(params) -> tuple[list[str], list[str]]:
    """The names of the first stages and of those that each task runs."""
    having = [i for i, name in enumerate(stages) if kernels_in("mtlora", params[name], kernels)]
    if len(having) < task_stages:
      check_kernels("mtlora", params, kernels)
      raise UserError(
        f"mtlora: task_stages is {task_stages}, but {len(having)} stages of the trunk have kernels that match "
        f"{kernels!r}: choose at most that many."
      )
    names = list(stages)
    return names[: having[-task_stages]], names[having[-task_stages] :]

  def run(names, params, state, x, **context):
    return in_order({name: stages[name] for name in names}).apply(params, state, x, **context)

  def init(key, x, count):
    key, shared_key, own_key = jax.random.split(key, 3)
    params, state = in_order(stages).init(key, x)
    first, last = cut(params)
    shared_stages = first if mode == "matrix" else list(stages)
    found = kernels_in("mtlora", {name: params[name] for name in shared_stages}, kernels)
    own_found = kernels_in("mtlora", {name: params[name] for name in last}, kernels)
    shared = {"trunk": params, "lora": factors(shared_key, found, rank)}
    own = jax.vmap(lambda key: factors(key, own_found, task_rank))(jax.random.split(own_key, count))
    own_state = repeated({name: state[name] for name in last}, count)
    return (shared, own), ({name: state[name] for name in first}, own_state)

  def once(shared, state, x, **context):
    first, _ = cut(shared["trunk"])
    return run(first, updated(shared["trunk"], updates(shared["lora"], scale)), state, x, **context)

  def each(shared, own, state, x, **context):
    _, last = cut(shared["trunk"])
    both = updates(shared["lora"], scale), updates(own, task_scale)
    return run(last, updated(shared["trunk"], *both), state, x, **context)

  return streams("lora", heads, init, each, once)
