"""Towers whose features are mixed after each stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.arch._towers import examples_first, towers
from mtl_jax.arch.chain import in_order, numbered, split_key
from mtl_jax.net import Net


def near_identity(arch: str, count: int, keep: float) -> jax.Array:
  """The matrix that mixing starts with: `keep` on the diagonal, the rest of each row spread over the others.

  Raises:
    UserError: `keep` is outside of [0, 1].
  """
  if not 0 <= keep <= 1:
    raise UserError(f"{arch}: keep is {keep}, expected a number in [0, 1].")
  if count == 1:
    return jnp.eye(count)
  return keep * jnp.eye(count) + (1 - keep) / (count - 1) * (1 - jnp.eye(count))


def stitched(stages: Sequence[Net], count: int, start: jax.Array, stitch: Callable[[jax.Array, Any], Any]) -> Net:
  """`count` towers of the stages.

  Args:
    stages: What each tower is made of.
    count: How many towers.
    start: The initial mixing matrix of every stage.
    stitch: `stitch(matrix, features)` mixes features (count, B, ...).

  Returns:
    The net `x -> features of each stage`, a list of (B, count, ...), with the parameters
    `{"towers": {stage: ...}, "stitch": {stage: matrix}}`.
  """
  parts = numbered([towers(stage, count, own_inputs=i > 0) for i, stage in enumerate(stages)])

  def init(key, x):
    params, state = in_order(parts).init(key, x)
    return {"towers": params, "stitch": {name: jnp.array(start) for name in parts}}, state

  def apply(params, state, x, *, key: Any = None, **mode):
    found, after = [], {}
    for (name, part), own in zip(parts.items(), split_key(key, len(parts)), strict=True):
      x, after[name] = part.apply(params["towers"][name], state[name], x, key=own, **mode)
      x = stitch(params["stitch"][name], x)
      found.append(examples_first(x))
    return found, after

  return Net(init, apply)


def last(net: Net) -> Net:
  """A net that gives the last of what the net gives."""

  def apply(params, state, x, **context):
    found, state = net.apply(params, state, x, **context)
    return found[-1], state

  return Net(net.init, apply)


def stitches(params: Any, state: Any) -> dict[str, jax.Array]:
  """What such nets report: their matrices by stage."""
  del state
  return {f"stitch/{name}": alpha for name, alpha in params["shared"]["stitch"].items()}
