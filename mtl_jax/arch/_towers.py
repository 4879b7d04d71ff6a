"""Copies of a net with parameters of their own, which run as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from mtl_jax.arch._parts import reading
from mtl_jax.arch.chain import split_key
from mtl_jax.net import Net

EXPERT = "expert"
"""The axis of a mesh that copies are divided over, where it has one."""


def towers(net: Net, count: int, own_inputs: bool = False) -> Net:
  """`count` copies of a net: experts, or one tower per task.

  Their parameters lie in one tree of arrays, (count, ...), and they run by `jax.vmap`, so a program does not grow with
  their number. Each is initialised, drops units and takes batch statistics by itself.

  Args:
    net: What there are copies of.
    count: How many, at least 1.
    own_inputs: Each copy has an input of its own, (count, B, ...); False: all have the same, (B, ...).

  Returns:
    The `Net`. It gives (count, B, ...).
  """
  of_input = 0 if own_inputs else None

  def over_copies(function, axes):
    mesh = jax.sharding.get_abstract_mesh()
    divided = mesh.shape.get(EXPERT, 1) > 1 and count % mesh.shape[EXPERT] == 0
    return jax.vmap(function, axes, axis_size=count, spmd_axis_name=EXPERT if divided else None)

  def init(key, x):
    return over_copies(net.init, (0, of_input))(jax.random.split(key, count), x)

  def apply(params, state, x, *, key: Any = None, train: bool = False, step: Any = None):
    def one(params, state, x, key):
      return net.apply(params, state, x, key=key, train=train, step=step)

    keys = None if key is None else split_key(key, count)
    return over_copies(one, (0, 0, of_input, None if keys is None else 0))(params, state, x, keys)

  return Net(init, apply)


def examples_first(tree: Any) -> Any:
  """(count, B, ...) as (B, count, ...), for what crosses the cut between trunk and heads."""
  return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), tree)


def on_towers(heads: Mapping[str, Net]) -> dict[str, Net]:
  """Each head on what the tower of its own number gives, of the features of all of them (B, T, ...)."""
  return {name: reading(head, tower(i)) for i, (name, head) in enumerate(heads.items())}


def tower(number: int) -> Any:
  """A function that gives what the tower of that number gives, of the features of all of them (B, T, ...)."""
  return lambda features: jax.tree.map(lambda leaf: leaf[:, number], features)
