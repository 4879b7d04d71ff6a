"""Sparse mixture of experts: each task gives each example to k of the experts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import jax

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax.arch import balancing
from mtl_jax.arch._experts import check_selected, experts_of, gate_of, loads, mixing, over_gates
from mtl_jax.arch._parts import check_parts, for_each
from mtl_jax.arch._routing import Routed, routed_by, sparse_gate, with_noise
from mtl_jax.arch.chain import in_order
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net
from mtl_jax.terms import Strength, Term, of_gates

Balance = Literal["switch", "shazeer", "loss_free"]


def moe_topk(
  trunk: Net,
  heads: Mapping[str, Net],
  experts: int = 4,
  k: int = 2,
  shared_stages: int = 0,
  gate: Net | None = None,
  noise: bool = False,
  balance: Balance | None = "switch",
  strength: Strength = 0.01,
  z_strength: Strength = 0.0,
  bias_rate: float = 1e-3,
) -> Net:
  r"""E experts, copies of the trunk, of which the gate of each task mixes the k with the largest logits.

  $$ \hat y_t = h_t\big(\sum_{e \in K_t(x)} g_t(x)_e f_e(x)\big), \qquad
  g_t(x) = softmax(a_t(x)_e)_{e \in K_t(x)}, \quad a_t(x) = W_t x $$

  $K_t(x)$ are the k experts with the largest $a_t$. With k = 1 the weight is the probability among all experts, since
  that among one has no gradient. In training with noise, $a_t(x)$ is $W_t x + \epsilon (softplus(V_t x) + 0.01)$ with
  $\epsilon$ standard normal.

  Gates tend to give all examples to few experts. Against it there is, for each task:

  - `"switch"`: the loss `mtl.arch.balancing.switch`;
  - `"shazeer"`: the sum of the losses `importance` and `load`, which needs noise;
  - `"loss_free"`: no loss, but a bias that is added to the softmax of $a_t$ when experts are chosen, and that each
    step in training moves by `mtl.arch.balancing.moved_bias`.

  Args:
    trunk: What each expert is.
    heads: For each task a net from what an expert gives to its prediction.
    experts: E, at least 1.
    k: How many experts an example gets, from 1 to E.
    shared_stages: The first stages of the trunk that are not copied; gates read what they give.
    gate: A net from what the experts get to (B, E) logits, of which each task has a copy; None: a linear layer on all
      floats of an example.
    noise: Whether logits have noise in training.
    balance: How experts are kept busy; None: they are not.
    strength: The strength of the term `load_balance`, the balancing loss, summed over tasks.
    z_strength: The strength of the term `gate_z`, `mtl.arch.balancing.z` of the logits, summed over tasks; 1e-3 is
      usual, 0: no such term.
    bias_rate: What a bias moves by in a step.

  Returns:
    The multi-task `Net`. Experts are shared, gates belong to their tasks, biases to the state. It reports
    `load/<task>`, the mean weight of each expert in the last batch, and `bias/<task>` where there are biases.

  Raises:
    UserError: Something is no `Net`; no heads; `experts` below 1; `k` not from 1 to `experts`; an unknown `balance`, or
      `"shazeer"` without noise; the trunk has no more stages than `shared_stages`; when it is applied, the gate gives
      another shape, or has a state where there is a balancing loss.

  >>> import jax.numpy as jnp, flax.linen as nn, mtl_jax as mtl
  >>> net = moe_topk(mtl.from_linen(mtl.nn.MLP((8,))), {"kind": mtl.from_linen(nn.Dense(3))}, balance="loss_free")
  >>> params, state = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((5, 4)))
  >>> {name: found.shape for name, found in net.report(params, state).items()}
  {'load/kind': (4,), 'bias/kind': (4,)}

  Deviations: all experts are computed, with weights of 0 for those not chosen: it saves no time, and no example is
  dropped. Balancing losses leave out dropout in gates. Tasks share the draw of the noise, not its deviation. Loss-free
  balancing takes the softmax for scores, where its authors take sigmoids.

  When to use:
    There are many experts, and each example should depend on few of them. All experts are computed for all examples
    all the same, so it saves no time here.

  References:
    Shazeer et al., *Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer*, ICLR 2017.

    Fedus, Zoph, Shazeer, *Switch Transformers: Scaling to Trillion Parameter Models with Simple and Efficient
    Sparsity*, JMLR 2022.

    Wang et al., *Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts*, 2024.
  """
  heads, parts = check_parts("moe_topk", trunk, heads), experts_of("moe_topk", trunk, experts, shared_stages)
  check_selected("moe_topk", k, experts)
  if balance is not None:
    check_choice("moe_topk", "balance", balance, get_args(Balance))
  if balance == "shazeer" and not noise:
    raise UserError("moe_topk: balance is 'shazeer', which asks where other noise would lead: pass noise=True.")
  router, free = gate_of("moe_topk", gate, experts), balance == "loss_free"
  weights = sparse_gate("moe_topk", router, experts, k, noise, bias_rate if free else None)
  body = with_noise(in_order(parts), experts) if noise else in_order(parts)
  net = hard_sharing(body, for_each(heads, lambda head: mixing(weights, head, lambda features: features)))

  def term(loss: Callable[[Routed], Any], strength: Strength) -> Term:
    return of_gates(
      over_gates(lambda params, features: loss(routed_by("moe_topk", router, params, features, k))), strength
    )

  terms = {}
  if balance in _LOSSES and strength != 0:
    terms["load_balance"] = term(lambda found: _LOSSES[balance](found, k), strength)
  if z_strength != 0:
    terms["gate_z"] = term(lambda found: balancing.z(found.clean), z_strength)

  def report(params, state):
    biases = {f"bias/{name}": own["gate"]["gate"]["bias"] for name, own in state["task"].items()} if free else {}
    return loads(params, state) | biases

  return dataclasses.replace(net, report=report, terms=terms)


def _switch(found: Routed, k: int):
  return balancing.switch(jax.nn.softmax(found.noisy), found.chosen)


def _shazeer(found: Routed, k: int):
  return balancing.importance(found.weights) + balancing.load(found.clean, found.noisy, found.deviation, k)


_LOSSES = {"switch": _switch, "shazeer": _shazeer}
