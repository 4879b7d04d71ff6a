"""Customized gate control: experts of all tasks, and experts of each task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mtl_jax.arch._experts import experts_of, gate_of, loads, mixture, softmax_of, with_own
from mtl_jax.arch._parts import check_count, check_parts, for_each, parted
from mtl_jax.arch.chain import in_order
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def cgc(
  trunk: Net,
  heads: Mapping[str, Net],
  shared_experts: int = 2,
  task_experts: int = 2,
  shared_stages: int = 0,
  gate: Net | None = None,
) -> Net:
  r"""Shared experts, and for each task experts of its own and a softmax gate that mixes both.

  $$ \hat y_t = h_t\big(g_t(x)^T [f_1(x), \ldots, f_S(x), f_{t,1}(x), \ldots, f_{t,P}(x)]\big),
  \qquad g_t(x) = softmax(W_t x) $$

  Args:
    trunk: What each expert is.
    heads: For each task a net from what an expert gives to its prediction.
    shared_experts: S, at least 1.
    task_experts: P, at least 1.
    shared_stages: The first stages of the trunk that are not copied; gates read what they give.
    gate: A net from what the experts get to (B, S + P) logits, those of the shared experts first, of which each task
      has a copy; None: a linear layer on all floats of an example.

  Returns:
    The multi-task `Net`. Shared experts are shared, all else belongs to its task. It reports `load/<task>`, the mean
    weight of each expert in the last batch.

  Raises:
    UserError: Something is no `Net`; no heads; a number of experts below 1; the trunk has no more stages than
      `shared_stages`; when it is applied, the gate gives another shape.

  >>> import jax, jax.numpy as jnp, flax.linen as nn, mtl_jax as mtl
  >>> net = cgc(mtl.from_linen(mtl.nn.MLP((8,))), {"kind": mtl.from_linen(nn.Dense(3))}, task_experts=1)
  >>> params, state = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((5, 4)))
  >>> [tree["experts"]["Dense_0"]["kernel"].shape for tree in (params["shared"], params["task"]["kind"])]
  [(2, 4, 8), (1, 4, 8)]

  When to use:
    Some features serve all tasks and others harm all but one.

  References:
    Tang et al., *Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized
    Recommendations*, RecSys 2020.
  """
  heads = check_parts("cgc", trunk, heads)
  parts = experts_of("cgc", trunk, shared_experts, shared_stages, "shared_experts")
  check_count("cgc", "task_experts", task_experts)
  own = with_own(parted("cgc", trunk, shared_stages)[1], task_experts)
  mix = mixture(softmax_of(gate_of("cgc", gate, shared_experts + task_experts)))
  own_parts = for_each(heads, lambda head: in_order({"experts": own, "gate": mix, "head": head}))
  return dataclasses.replace(hard_sharing(in_order(parts), own_parts), report=loads)
