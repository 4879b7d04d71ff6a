"""Experts and the gates that mix them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax.arch._parts import check_count, dense, flat, is_float, linear, parted
from mtl_jax.arch._towers import examples_first, towers
from mtl_jax.arch.chain import split_key
from mtl_jax.net import Net, check_net


def experts_of(arch: str, trunk: Net, count: int, shared_stages: int) -> Net:
  """The trunk of a mixture: the first stages once, the others `count` times.

  Returns:
    The net `x -> {"experts": (B, count, ...), "input": what the experts get, for the gates}`, with the parameters
    `{"stem": ..., "experts": ...}`, those of the experts stacked.
  """
  check_count(arch, "experts", count)
  stem, expert = parted(arch, trunk, shared_stages)
  copies = towers(expert, count)

  def init(key, x):
    stem_key, key = jax.random.split(key)
    params, state = {}, {}
    if stem is not None:
      params["stem"], state["stem"] = stem.init(stem_key, x)
      x, _ = stem.apply(params["stem"], state["stem"], x)
    params["experts"], state["experts"] = copies.init(key, x)
    return params, state

  def apply(params, state, x, *, key: Any = None, **mode):
    (stem_key, key), after = split_key(key, 2), {}
    if stem is not None:
      x, after["stem"] = stem.apply(params["stem"], state["stem"], x, key=stem_key, **mode)
    y, after["experts"] = copies.apply(params["experts"], state["experts"], x, key=key, **mode)
    return {"experts": examples_first(y), "input": x}, after

  return Net(init, apply)


def gate_of(arch: str, gate: Net | None, count: int) -> Net:
  """The gate that is given, or a linear one: `x -> (B, count)` logits."""
  if gate is not None:
    check_net(f"{arch}: gate", gate)
    return gate

  def init(key, x):
    return dense(key, flat(f"{arch}: gate", x).shape[1], count), {}

  def apply(params, state, x):
    return linear(params, flat(f"{arch}: gate", x)), state

  return Net(init, apply)


def softmax_of(gate: Net) -> Net:
  """A gate whose logits become weights."""

  def apply(params, state, x, **context):
    logits, state = gate.apply(params, state, x, **context)
    return jax.nn.softmax(logits), state

  return Net(gate.init, apply)


def mixing(weights_of: Net, then: Net, read: Callable[[Any], Any] = lambda features: features) -> Net:
  r"""A net on a mixture of experts, $h(\sum_e g_e(x) f_e(x))$.

  Args:
    weights_of: The gate: `features["input"] -> (B, E)` weights.
    then: The net on the mixture.
    read: Gives of the trunk's features the `"experts"`, (B, E, ...), and the `"input"`.

  Returns:
    The net, with parameters `{"gate": ..., "head": ...}`. Its state holds as `"load"` the mean weight of each expert in
    the last batch of training, (E,).
  """

  def init(key, features):
    key, gate_key = jax.random.split(key)
    found = read(features)
    gate, gate_state = weights_of.init(gate_key, found["input"])
    weights, _ = weights_of.apply(gate, gate_state, found["input"])
    head, head_state = then.init(key, mixed(weights, found["experts"]))
    load = jnp.full(weights.shape[1:], 1 / weights.shape[1], jnp.float32)
    return {"gate": gate, "head": head}, {"gate": gate_state, "head": head_state, "load": load}

  def apply(params, state, features, *, key: Any = None, train: bool = False, step: Any = None):
    key, gate_key = split_key(key, 2)
    found, mode = read(features), {"train": train, "step": step}
    weights, gate_state = weights_of.apply(params["gate"], state["gate"], found["input"], key=gate_key, **mode)
    y, head_state = then.apply(params["head"], state["head"], mixed(weights, found["experts"]), key=key, **mode)
    load = mean_load(weights) if train else state["load"]
    return y, {"gate": gate_state, "head": head_state, "load": load}

  return Net(init, apply)


def mixed(weights: jax.Array, experts: Any) -> Any:
  """The sum of experts (B, E, ...) by weights (B, E). Indices and masks, alike for all experts, are the first's."""

  def one(leaf):
    if not is_float(leaf):
      return leaf[:, 0]
    return jnp.sum(weights.astype(leaf.dtype).reshape(*weights.shape, *[1] * (leaf.ndim - 2)) * leaf, axis=1)

  return jax.tree.map(one, experts)


def mean_load(weights: jax.Array) -> jax.Array:
  """The mean weight of each expert over the batch on all devices, (E,), without a gradient."""
  found = jnp.mean(jax.lax.stop_gradient(weights), axis=0, dtype=jnp.float32)
  return devices.total(found) / devices.count()


def loads(params: Any, state: Any) -> dict[str, jax.Array]:
  """What a mixture reports: the mean weights of its experts for each task, and of what else has a gate."""
  del params
  return {f"load/{name}": own["load"] for name, own in state["task"].items()}
