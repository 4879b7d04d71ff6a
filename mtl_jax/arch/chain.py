"""Nets one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from mtl_jax._core.errors import UserError
from mtl_jax.net import Net, check_net


def chain(*nets: Net) -> Net:
  r"""Nets one after the other, as one trunk whose stages they are.

  $$ y = f_n(\ldots f_1(x)) $$

  Args:
    nets: At least one; each maps what the one before gives, any pytree.

  Returns:
    The `Net`, with parameters and state `{"stage_0": ..., "stage_1": ...}`.

  Raises:
    UserError: No nets, or one that is no `Net`.

  >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
  >>> trunk = chain(mtl.from_linen(nn.Dense(8)), mtl.from_linen(nn.Dense(4)))
  >>> params, state = trunk.init(jax.random.key(0), jnp.ones((2, 3)))
  >>> trunk.apply(params, state, jnp.ones((2, 3)))[0].shape, len(trunk.stages)
  ((2, 4), 2)
  """
  if not nets:
    raise UserError("chain needs at least one net, found none.")
  for i, net in enumerate(nets):
    check_net(f"chain: net {i}", net)
  return dataclasses.replace(in_order(numbered(nets)), stages=nets)


def numbered(stages: Sequence[Net]) -> dict[str, Net]:
  """Stages by the names that they have among parameters."""
  return {f"stage_{i}": stage for i, stage in enumerate(stages)}


def in_order(nets: Mapping[str, Net]) -> Net:
  """Nets one after the other, with their parameters and state by their names."""

  def init(key, x):
    params, state = {}, {}
    for (name, net), own in zip(nets.items(), jax.random.split(key, len(nets)), strict=True):
      params[name], state[name] = net.init(own, x)
      x, _ = net.apply(params[name], state[name], x)
    return params, state

  def apply(params, state, x, *, key: Any = None, train: bool = False, step: Any = None):
    keys, after = split_key(key, len(nets)), {}
    for (name, net), own in zip(nets.items(), keys, strict=True):
      x, after[name] = net.apply(params[name], state[name], x, key=own, train=train, step=step)
    return x, after

  return Net(init, apply)


def split_key(key: jax.Array | None, count: int) -> Any:
  """As many keys; None for each without one."""
  return [None] * count if key is None else jax.random.split(key, count)
