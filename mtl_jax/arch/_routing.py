"""Sparse gates: of each example's experts the k with the largest logits."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtl_jax._core import devices
from mtl_jax._core.errors import UserError
from mtl_jax._core.shapes import shapes
from mtl_jax.arch._parts import flat, linear
from mtl_jax.arch.balancing import moved_bias
from mtl_jax.arch.chain import split_key
from mtl_jax.net import Net


class Routed(NamedTuple):
  """What a sparse gate makes of a batch, in float32.

  Attributes:
    clean: The logits.
    noisy: The logits with noise, by which experts are chosen; the same where there is none.
    deviation: The standard deviation of the noise, 0 where there is none.
    chosen: 1 for the k experts of an example, 0 for the others.
    weights: Their weights.
  """

  clean: Float[Array, "B E"]
  noisy: Float[Array, "B E"]
  deviation: Float[Array, "B E"]
  chosen: Float[Array, "B E"]
  weights: Float[Array, "B E"]


def sparse_gate(arch: str, gate: Net, experts: int, k: int, noise: bool, rate: float | None) -> Net:
  """The gate from a mixture's features to weights of which k are not 0.

  Args:
    arch: The architecture, for messages.
    gate: The net from the experts' input to logits.
    experts: E.
    k: How many are chosen.
    noise: Whether logits have noise, that of the features, (B, E), with a learned deviation.
    rate: What the bias of loss-free balancing moves by; None: there is none.

  Returns:
    The net, with the parameters `{"logits": ..., "noise": ...}`.
  """

  def init(key, features):
    params, state = {}, {}
    params["logits"], state["logits"] = gate.init(key, features["input"])
    if noise:
      width = flat(f"{arch}: gate", features["input"]).shape[1]
      params["noise"] = {"kernel": jnp.zeros((width, experts)), "bias": jnp.zeros(experts)}
    if rate is not None:
      state["bias"] = jnp.zeros(experts)
    return params, state

  def apply(params, state, features, *, key: Any = None, train: bool = False, step: Any = None):
    logits, after = gate.apply(params["logits"], state["logits"], features["input"], key=key, train=train, step=step)
    found = _routed(arch, params, features, logits, k, state.get("bias"))
    after = {"logits": after}
    if rate is not None:
      moved = moved_bias(state["bias"], devices.total(jnp.sum(found.chosen, axis=0)), rate) if train else state["bias"]
      after["bias"] = moved
    return found.weights, after

  return Net(init, apply)


def routed_by(arch: str, gate: Net, params: Any, features: Any, k: int) -> Routed:
  """What a gate makes of the features, from its parameters alone, without its dropout.

  Raises:
    UserError: The gate has a state.
  """
  _, state = shapes(gate.init, jax.random.key(0), features["input"])
  if jax.tree.leaves(state):
    raise UserError(
      f"{arch}: gate has a state, such as batch statistics, and its balancing loss reads parameters alone: take a gate "
      "without one, or balance='loss_free'."
    )
  logits, _ = gate.apply(params["logits"], state, features["input"])
  return _routed(arch, params, features, logits, k, None)


def _routed(arch: str, params: Any, features: Any, logits: Any, k: int, bias: Any) -> Routed:
  clean = noisy = logits.astype(jnp.float32)
  deviation = jnp.zeros_like(clean)
  if "noise" in params:
    deviation = linear(params["noise"], flat(f"{arch}: gate", features["input"])).astype(jnp.float32)
    deviation = jax.nn.softplus(deviation) + 0.01
    noisy = clean + deviation * jax.lax.stop_gradient(features["noise"])
  scores = jax.nn.softmax(noisy)
  ranked = scores if bias is None else scores + jnp.broadcast_to(bias, scores.shape)
  _, best = jax.lax.top_k(jax.lax.stop_gradient(ranked), k)
  chosen = jnp.sum(jax.nn.one_hot(best, clean.shape[1], dtype=jnp.float32), axis=1)
  # One expert alone keeps its probability: a weight of 1 would leave the gate without a gradient.
  weights = scores * chosen if k == 1 else jax.nn.softmax(jnp.where(chosen > 0, noisy, -jnp.inf))
  return Routed(clean, noisy, deviation, chosen, weights)


def with_noise(body: Net, experts: int) -> Net:
  """The trunk of a mixture whose features have standard normal `"noise"`, (B, experts), in training, else zeros.

  As features, so that gates and the terms that judge them see the same.
  """

  def apply(params, state, x, *, key: Any = None, train: bool = False, step: Any = None):
    key, own = split_key(key, 2)
    features, state = body.apply(params, state, x, key=key, train=train, step=step)
    shape = (jax.tree.leaves(x)[0].shape[0], experts)
    noise = jax.random.normal(own, shape) if train and own is not None else jnp.zeros(shape)
    return {**features, "noise": noise}, state

  return Net(body.init, apply)
