"""Heads on the features of a forward pass: one by one, or those that are alike as one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.axes import behind
from mtl_jax._core.packed import Opened, entry
from mtl_jax._core.partition import joined
from mtl_jax._jaxpr.branches import Alike
from mtl_jax.engine._cotangents import Alone, Together


class Heads(NamedTuple):
  """Some of the tasks of a forward pass.

  Attributes:
    names: Their names.
    losses: (K,).
    state: The new state of the one head, or of all along a leading axis.
    pull: `pull(weights) -> grads`, each head's gradient of its own loss, times its weight; laid out like `state`.
    cotangents: Their gradients at the features.
  """

  names: tuple[str, ...]
  losses: jax.Array
  state: Any
  pull: Callable[[jax.Array], Any]
  cotangents: Alone | Together


def head_alone(
  name: str, head: Any, params: Any, state: Any, features: Any, others: Any, batch: Opened, key: Any
) -> Heads:
  """One head. It sees one task only: its own vjp costs T small backward passes in all, not T of every head.

  Args:
    name: Its task.
    head: It.
    params: Its parameters.
    state: Its state.
    features: The features that have gradients.
    others: Masks and indices among them.
    batch: The batch.
    key: Its key.
  """

  def loss_of(p, f):
    return head(p, state, joined(f, others), batch.entries, key)

  loss, vjp, after = jax.vjp(loss_of, params, features, has_aux=True)
  grads, cotangent = vjp(devices.varying(jnp.ones((), loss.dtype)))

  def pull(weights):
    return jax.tree.map(lambda g: g * weights[0].astype(g.dtype), grads)

  return Heads((name,), loss[None], after, pull, Alone(cotangent, lambda seed: vjp(seed.astype(loss.dtype))[1]))


def heads_together(alike: Alike, features: Any, others: Any, keys: Any, *, of_each: bool) -> Heads:
  """Several heads as one batch.

  Args:
    alike: The heads.
    features: The features that have gradients: one for all, or of each along a leading axis.
    others: Masks and indices among them.
    keys: The key of each, or None.
    of_each: Whether each has features of its own.
  """

  def losses_of(p, f):
    return alike.call(p, joined(f, others), keys, of_each)

  losses, vjp, after = jax.vjp(losses_of, alike.params, features, has_aux=True)
  count = len(alike.names)

  def seeds(weights):
    return devices.varying(weights.astype(losses.dtype))

  def each_at_features(seed):
    """Of each head alone, along a leading axis."""
    if of_each:
      return vjp(seeds(jnp.broadcast_to(seed, (count,))))[1]

    def of_one(p, s, k, operands):
      loss_of = lambda f: alike.function(p, s, joined(f, others), k, operands)[0]  # noqa: E731
      return jax.vjp(loss_of, features)[1](seed.astype(losses.dtype))[0]

    return jax.vmap(of_one, in_axes=(0, 0, None if keys is None else 0, alike.axes))(
      alike.params, alike.state, keys, alike.operands
    )

  def weighted(weights):
    return vjp(seeds(weights))[1]

  def pull(weights):
    grads = vjp(seeds(jnp.ones(count)))[0]
    return jax.tree.map(lambda g: g * behind(weights.astype(g.dtype), g.ndim), grads)

  def again(seed):
    return entry(each_at_features(seed), 0)

  return Heads(alike.names, losses, after, pull, Together(count, each_at_features, weighted, again))
