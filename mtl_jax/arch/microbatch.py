"""Gradient accumulation: a large batch through the trunk in pieces."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from mtl_jax._core.errors import UserError
from mtl_jax.net import Net, from_cut


def microbatch(net: Net, count: int) -> Net:
  r"""The same net, whose trunk sees the batch in `count` pieces and keeps the activations of one at a time.

  Losses and gradients are exactly those of the whole batch, masks included, for every engine and balancer: the heads
  and the losses still see all features, and the trunk's backward pass repeats each piece's forward pass. Batch
  normalisation and dropout see one piece after the other.

  Args:
    net: A multi-task net (or a trunk).
    count: The number of pieces; must divide the batch.

  Returns:
    The net, with the same parameters.

  Raises:
    UserError: `count` is below 1; or, when applied, does not divide the batch, or a leaf of the features does not
      begin with the examples.

  >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(8)), {"kind": mtl.from_linen(nn.Dense(3))})
  >>> params, state = net.init(jax.random.key(0), jnp.ones((6, 4)))
  >>> microbatch(net, 3).apply(params, state, jnp.ones((6, 4)))[0]["kind"].shape
  (6, 3)
  """
  if count < 1:
    raise UserError(f"microbatch: count is {count}, expected at least 1.")
  if count == 1:
    return net
  if net.cut is None:
    return dataclasses.replace(net, apply=_in_pieces(net.apply, count), stages=())
  pieces = dataclasses.replace(net.cut, trunk=_in_pieces(net.cut.trunk, count))
  return dataclasses.replace(net, apply=from_cut(net.init, pieces).apply, cut=pieces)


def _in_pieces(apply: Any, count: int) -> Any:
  def pieces(params, state, x, *, key=None, **mode):
    size = jax.tree.leaves(x)[0].shape[0]
    if size % count:
      raise UserError(f"microbatch: a batch of {size} examples cannot be cut into {count} equal pieces.")

    # Piece i holds the examples i, i + count, ...: the cut leaves a batch sharded over devices where it is.
    def cut(a):
      return a.reshape(size // count, count, *a.shape[1:]).swapaxes(0, 1)

    def join(a):
      if a.shape[1:2] != (size // count,):
        raise UserError(
          f"microbatch: the trunk gives an array {a.shape[1:]} for {size // count} examples: pieces are joined along "
          "the first axis, expected that of the examples."
        )
      return a.swapaxes(0, 1).reshape(size, *a.shape[2:])

    @jax.checkpoint
    def one(state, piece):
      index, part = piece
      piece_key = None if key is None else jax.random.fold_in(key, index)
      y, state = apply(params, state, part, key=piece_key, **mode)
      return state, y

    state, y = jax.lax.scan(one, state, (jax.numpy.arange(count), jax.tree.map(cut, x)))
    return jax.tree.map(join, y), state

  return pieces
