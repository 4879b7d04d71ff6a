"""One-gate mixture of experts: all tasks read the same mixture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mtl_jax.arch._experts import experts_of, gate_of, mixture, softmax_of
from mtl_jax.arch._parts import check_parts
from mtl_jax.arch.chain import in_order
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def omoe(
  trunk: Net, heads: Mapping[str, Net], experts: int = 4, shared_stages: int = 0, gate: Net | None = None
) -> Net:
  r"""E experts, copies of the trunk, and one softmax gate that mixes them for all tasks.

  $$ \hat y_t = h_t\big(\sum_e g(x)_e f_e(x)\big), \qquad g(x) = softmax(W x) $$

  Args:
    trunk: What each expert is.
    heads: For each task a net from what an expert gives to its prediction.
    experts: E, at least 1.
    shared_stages: The first stages of the trunk that are not copied; the gate reads what they give.
    gate: A net from what the experts get to (B, E) logits; None: a linear layer on all floats of an example.

  Returns:
    The multi-task `Net`. Experts and gate are shared. It reports `load`, the mean weight of each expert in the last
    batch.

  Raises:
    UserError: Something is no `Net`; no heads; `experts` below 1; the trunk has no more stages than `shared_stages`;
      when it is applied, the gate gives another shape.

  >>> import jax, jax.numpy as jnp, flax.linen as nn, mtl_jax as mtl
  >>> net = omoe(mtl.from_linen(mtl.nn.MLP((8,))), {"kind": mtl.from_linen(nn.Dense(3))}, experts=2)
  >>> params, state = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((5, 4)))
  >>> params["shared"]["gate"]["kernel"].shape, params["task"]["kind"]["kernel"].shape
  ((4, 2), (8, 3))
  >>> net.report(params, state)["load"].shape
  (2,)

  When to use:
    Examples, not tasks, need different experts. It is also the control for `mmoe`: without gates of their own.

  References:
    Ma et al., *Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts*, KDD 2018, where
    it is the model that the one with a gate per task is compared with.
  """
  heads, parts = check_parts("omoe", trunk, heads), experts_of("omoe", trunk, experts, shared_stages)
  parts["gate"] = mixture(softmax_of(gate_of("omoe", gate, experts)))
  return dataclasses.replace(
    hard_sharing(in_order(parts), heads), report=lambda params, state: {"load": state["shared"]["gate"]["load"]}
  )
