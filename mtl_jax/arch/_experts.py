"""Experts and the gates that mix them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import stack
from mtl_jax.arch._parts import check_count, dense, flat, is_float, linear, parted
from mtl_jax.arch._towers import examples_first, towers
from mtl_jax.arch.chain import in_order
from mtl_jax.net import Net, check_net


def experts_of(arch: str, trunk: Net, count: int, shared_stages: int, what: str = "experts") -> dict[str, Net]:
  """The trunk of a mixture: the first stages once, the others `count` times.

  Args:
    arch: The architecture, for messages.
    trunk: The trunk.
    count: How many experts, at least 1.
    shared_stages: How many stages are not copied.
    what: The option that gives `count`, for messages.

  Returns:
    Nets to be run in order: `"stem"`, where there are shared stages, then `"experts"`, as in `fan`.
  """
  check_count(arch, what, count)
  stem, expert = parted(arch, trunk, shared_stages)
  return {"experts": fan(expert, count)} if stem is None else {"stem": stem, "experts": fan(expert, count)}


def fan(expert: Net, count: int) -> Net:
  """Experts on one input: `x -> {"experts": (B, count, ...), "input": x}`, with stacked parameters."""
  copies = towers(expert, count)

  def apply(params, state, x, **context):
    y, state = copies.apply(params, state, x, **context)
    return {"experts": examples_first(y), "input": x}, state

  return Net(copies.init, apply)


def with_own(expert: Net, count: int) -> Net:
  """Experts of one task, on the input of the shared ones, which they join as the last: features -> features."""
  own = fan(expert, count)

  def init(key, features):
    return own.init(key, features["input"])

  def apply(params, state, features, **context):
    found, state = own.apply(params, state, features["input"], **context)
    if "experts" in features:
      found["experts"] = concatenated(features["experts"], found["experts"], axis=1)
    return found, state

  return Net(init, apply)


def gate_of(arch: str, gate: Any, count: int) -> Net:
  """The gate that is given, or a linear one: `x -> (B, count)` logits."""
  if gate is not None:
    check_net(f"{arch}: gate", gate)

    def checked(params, state, x, **context):
      logits, state = gate.apply(params, state, x, **context)
      if jnp.ndim(logits) != 2 or logits.shape[1] != count:
        raise UserError(
          f"{arch}: gate gives an array {jnp.shape(logits)}, expected (B, {count}), a logit for each expert that it "
          f"mixes: let its last layer have {count} units."
        )
      return logits, state

    return Net(gate.init, checked)

  def init(key, x):
    return dense(key, flat(f"{arch}: gate", x).shape[1], count), {}

  def apply(params, state, x):
    return linear(params, flat(f"{arch}: gate", x)), state

  return Net(init, apply)


def check_selected(arch: str, k: int, experts: int) -> None:
  """Raises a `UserError` where a gate cannot choose k of the experts."""
  if not 1 <= k <= experts:
    raise UserError(f"{arch}: k is {k}, but there are {experts} experts: expected a number from 1 to {experts}.")


def softmax_of(gate: Net) -> Net:
  """A gate whose logits become weights."""

  def apply(params, state, x, **context):
    logits, state = gate.apply(params, state, x, **context)
    return jax.nn.softmax(logits), state

  return Net(gate.init, apply)


def input_of_experts(features: Any) -> Any:
  """What gates read of the features where nothing else is said."""
  return features["input"]


def mixture(weights_of: Net, read: Callable[[Any], Any] = input_of_experts) -> Net:
  r"""A mixture of experts, $\sum_e g_e(x) f_e(x)$.

  Args:
    weights_of: The gate: to (B, E) weights.
    read: What the gate reads of the features, which have the `"experts"`, (B, E, ...).

  Returns:
    The net, with the parameters of the gate. Its state holds that of the `"gate"` and as `"load"` the mean weight of
    each expert in the last batch of training, (E,).
  """

  def init(key, features):
    gate, state = weights_of.init(key, read(features))
    weights, _ = weights_of.apply(gate, state, read(features))
    return gate, {"gate": state, "load": even_load(weights.shape[1])}

  def apply(params, state, features, *, key: Any = None, train: bool = False, step: Any = None):
    weights, gate = weights_of.apply(params, state["gate"], read(features), key=key, train=train, step=step)
    load = mean_load(weights) if train else state["load"]
    return mixed(weights, features["experts"]), {"gate": gate, "load": load}

  return Net(init, apply)


def mixing(weights_of: Net, then: Net, read: Callable[[Any], Any] = input_of_experts) -> Net:
  """A net on a mixture of experts, with parameters `{"gate": ..., "head": ...}`."""
  return in_order({"gate": mixture(weights_of, read), "head": then})


def mixed(weights: jax.Array, experts: Any) -> Any:
  """The sum of experts (B, E, ...) by weights (B, E). Indices and masks, alike for all experts, are the first's."""

  def one(leaf):
    if not is_float(leaf):
      return leaf[:, 0]
    return jnp.sum(weights.astype(leaf.dtype).reshape(*weights.shape, *[1] * (leaf.ndim - 2)) * leaf, axis=1)

  return jax.tree.map(one, experts)


def concatenated(*trees: Any, axis: int) -> Any:
  """Trees of arrays, one behind the other along an axis."""
  return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis), *trees)


def mean_load(weights: jax.Array) -> jax.Array:
  """The mean weight of each expert over the batch on all devices, (E,), without a gradient."""
  found = jnp.mean(jax.lax.stop_gradient(weights), axis=0, dtype=jnp.float32)
  return devices.total(found) / devices.count()


def even_load(*shape: int) -> jax.Array:
  """The load before the first batch, alike for the experts along the last axis."""
  return jnp.full(shape, 1 / shape[-1], jnp.float32)


def loads(params: Any, state: Any) -> dict[str, Any]:
  """What a mixture reports: the mean weight of its experts for each task."""
  del params
  return {f"load/{name}": own["gate"]["load"] for name, own in state["task"].items()}


def over_gates(value: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
  """A function for `mtl.terms.of_gates`: the sum over the tasks of `value(parameters of the gate, features)`."""

  def total(params, features):
    gates = [own["gate"] for own in params["task"].values()]
    return jnp.sum(jax.vmap(value, (0, None))(stack(gates), features))

  return total
