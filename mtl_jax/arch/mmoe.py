"""Multi-gate mixture of experts: each task mixes the same experts by a gate of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mtl_jax.arch._experts import experts_of, gate_of, loads, mixing, softmax_of
from mtl_jax.arch._parts import check_parts, for_each
from mtl_jax.arch.chain import in_order
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def mmoe(
  trunk: Net, heads: Mapping[str, Net], experts: int = 4, shared_stages: int = 0, gate: Net | None = None
) -> Net:
  r"""E experts, copies of the trunk, and for each task a softmax gate that mixes them.

  $$ \hat y_t = h_t\big(\sum_e g_t(x)_e f_e(x)\big), \qquad g_t(x) = softmax(W_t x) $$

  Args:
    trunk: What each expert is.
    heads: For each task a net from what an expert gives to its prediction.
    experts: E, at least 1.
    shared_stages: The first stages of the trunk that are not copied; gates read what they give.
    gate: A net from what the experts get to (B, E) logits, of which each task has a copy; None: a linear layer on all
      floats of an example.

  Returns:
    The multi-task `Net`. Experts are shared, gates belong to their tasks. It reports `load/<task>`, the mean weight of
    each expert in the last batch.

  Raises:
    UserError: Something is no `Net`; no heads; `experts` below 1; the trunk has no more stages than `shared_stages`;
      when it is applied, the gate gives another shape.

  >>> import jax, jax.numpy as jnp, flax.linen as nn, mtl_jax as mtl
  >>> net = mmoe(mtl.from_linen(mtl.nn.MLP((8,))), {"kind": mtl.from_linen(nn.Dense(3))}, experts=2)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> params["shared"]["experts"]["Dense_0"]["kernel"].shape
  (2, 4, 8)
  >>> net.apply(params, state, jnp.ones((5, 4)))[0]["kind"].shape
  (5, 3)

  When to use:
    Tasks conflict, or come from different populations, and E trunks fit. The usual first choice for recommendations and
    tables.

  References:
    Ma et al., *Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts*, KDD 2018.
  """
  heads = check_parts("mmoe", trunk, heads)
  parts, weights = experts_of("mmoe", trunk, experts, shared_stages), softmax_of(gate_of("mmoe", gate, experts))
  net = hard_sharing(in_order(parts), for_each(heads, lambda head: mixing(weights, head)))
  return dataclasses.replace(net, report=loads)
