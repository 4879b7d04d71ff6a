"""DSelect-k: gates that choose k of the experts, and do so smoothly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtl_jax._core.errors import UserError
from mtl_jax.arch._experts import check_selected, experts_of, loads, mixing, over_gates
from mtl_jax.arch._parts import check_parts, flat, for_each, linear
from mtl_jax.arch.chain import in_order
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net
from mtl_jax.terms import Strength, of_gates


def dselect_k(
  trunk: Net,
  heads: Mapping[str, Net],
  experts: int = 4,
  k: int = 2,
  shared_stages: int = 0,
  per_example: bool = True,
  gamma: float = 1.0,
  entropy: Strength = 1e-3,
) -> Net:
  r"""E experts, copies of the trunk, of which the gate of each task learns to choose at most k by gradient descent.

  $$ g_t(x) = \sum_{i=1}^k softmax(A_t x)_i \, r(Z_{t,i} x), \qquad
  r(z)_e = \prod_j S(z_j)^{b_{ej}} (1 - S(z_j))^{1 - b_{ej}} $$

  $b_e$ are the binary digits of e, and S is the smooth step, a cubic from 0 at $-\gamma / 2$ to 1 at $\gamma / 2$ and
  constant outside. Each selector r is a distribution over the experts, and one expert alone once its digits are 0 or 1.

  Args:
    trunk: What each expert is.
    heads: For each task a net from what an expert gives to its prediction.
    experts: E, at least 1.
    k: How many selectors a gate has, from 1 to E.
    shared_stages: The first stages of the trunk that are not copied; gates read what they give.
    per_example: Each example chooses; False: each task does, so that A x and Z x are parameters.
    gamma: $\gamma$, above 0: how wide the smooth step is.
    entropy: The strength of the term `gate_entropy`: the entropy of all selectors, a mean over examples and a sum over
      selectors and tasks, which drives them to one expert each. 0: no such term.

  Returns:
    The multi-task `Net`. Experts are shared, gates belong to their tasks. It reports `load/<task>`, the mean weight of
    each expert in the last batch.

  Raises:
    UserError: Something is no `Net`; no heads; `experts` below 1; `k` not from 1 to `experts`; `gamma` not above 0; the
      trunk has no more stages than `shared_stages`.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> net = dselect_k(mtl.from_linen(mtl.nn.MLP((8,))), {"kind": mtl.from_linen(nn.Dense(3))}, experts=3)
  >>> params, state = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((5, 4)))
  >>> {name: part["kernel"].shape for name, part in params["task"]["kind"]["gate"].items()}
  {'choice': (4, 4), 'mix': (4, 2)}
  >>> list(net.terms)
  ['gate_entropy']

  Deviations: where E is no power of two, some numbers of as many digits have no expert. The authors let selectors give
  them weight, and penalise it. Here the first digit of a number counts only where both its values have an expert, so
  that weights always sum to 1. The authors' code sums the entropy over the examples of a batch, with a strength of
  1e-6.

  When to use:
    You want few experts per task, chosen smoothly, to see or to prune which tasks share which.

  References:
    Hazimeh et al., *DSelect-k: Differentiable Selection in the Mixture of Experts with Applications to Multi-Task
    Learning*, NeurIPS 2021.
  """
  heads, parts = check_parts("dselect_k", trunk, heads), experts_of("dselect_k", trunk, experts, shared_stages)
  check_selected("dselect_k", k, experts)
  if gamma <= 0:
    raise UserError(f"dselect_k: gamma is {gamma}, expected above 0.")
  bits = digits(experts)[0].shape[1]

  def init(key, x):
    keys = jax.random.split(key, 4)

    def uniform(key, *shape, most):
      return jax.random.uniform(key, shape, minval=-most, maxval=most)

    if not per_example:  # without kernels, so that nothing has a gradient of 0 for ever
      return {
        "choice": {"bias": uniform(keys[0], k * bits, most=gamma / 100)},
        "mix": {"bias": uniform(keys[1], k, most=0.05)},
      }, {}
    width = flat("dselect_k: gate", x).shape[1]
    return {
      "choice": {
        "kernel": uniform(keys[0], width, k * bits, most=gamma / 100),
        "bias": uniform(keys[2], k * bits, most=gamma / 100),
      },
      "mix": {"kernel": uniform(keys[1], width, k, most=0.05), "bias": uniform(keys[3], k, most=0.05)},
    }, {}

  def read(params, x):
    """What a gate has for each example, (B, ...), in float32."""
    if per_example:
      return linear(params, flat("dselect_k: gate", x)).astype(jnp.float32)
    examples = jax.tree.leaves(x)[0].shape[0]
    return jnp.broadcast_to(params["bias"].astype(jnp.float32), (examples, *params["bias"].shape))

  def selected(params, x):
    z = read(params["choice"], x)
    return selectors(smooth_step(z.reshape(z.shape[0], k, bits), gamma), experts)

  def weights_of(params, state, x):
    return jnp.einsum("bk,bke->be", jax.nn.softmax(read(params["mix"], x)), selected(params, x)), state

  def total_entropy(params, features):
    r = selected(params, features["input"])
    return jnp.sum(jnp.mean(-r * jnp.log(r + 1e-6), axis=0))  # entropy itself has no finite gradient at 0

  gate = Net(init, weights_of)
  net = hard_sharing(in_order(parts), for_each(heads, lambda head: mixing(gate, head)))
  terms = {} if entropy == 0 else {"gate_entropy": of_gates(over_gates(total_entropy), entropy)}
  return dataclasses.replace(net, report=loads, terms=terms)


def smooth_step(t: Float[Array, "*any"], gamma: float) -> Float[Array, "*any"]:
  r"""0 below $-\gamma / 2$, 1 above $\gamma / 2$, and $-2 t^3 / \gamma^3 + 3 t / (2 \gamma) + 1 / 2$ between them."""
  u = jnp.clip(t / gamma, -0.5, 0.5)
  return 0.5 + u * (1.5 - 2 * u * u)


def digits(experts: int) -> tuple[Array, Array]:
  """The binary digits of the experts' numbers, the first one first, and which of them count, (E, digits) both.

  The first digit counts only where both its values have an expert: of 3, the expert 01 has its last digit alone.
  """
  bits = max(1, (experts - 1).bit_length())
  number, half = jnp.arange(experts), 2 ** (bits - 1)
  found = (number[:, None] >> jnp.arange(bits - 1, -1, -1)[None]) & 1 == 1
  counts = jnp.ones_like(found).at[:, 0].set((number >= half) | (number + half < experts))
  return found, counts


def selectors(on: Float[Array, "B k m"], experts: int) -> Float[Array, "B k E"]:
  """Distributions over the experts, from how much each digit is 1."""
  digit, counts = digits(experts)
  on = on[:, :, None]
  digit, counts = (jnp.broadcast_to(table[None, None], (*on.shape[:2], *table.shape)) for table in (digit, counts))
  return jnp.prod(jnp.where(counts, jnp.where(digit, on, 1 - on), 1.0), axis=-1)
