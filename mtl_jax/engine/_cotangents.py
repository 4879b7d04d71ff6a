"""The gradients of several losses at what they are computed from: one by one, or of many alike at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.packed import entry
from mtl_jax.engine._backward.order import zero_after


class Alone:
  """The cotangent of one task.

  Attributes:
    value: It.
    again: The same as a function of what it is multiplied by, so that it can be made to wait for another.
  """

  count = 1

  def __init__(self, value: Any, again: Callable[[jax.Array], Any]):
    self.value, self.again = value, again

  def each(self) -> list[Any]:
    """The cotangent."""
    return [self.value]

  def stack(self, seed: jax.Array) -> Any:
    """It times `seed`, with a leading axis of one."""
    return jax.tree.map(lambda leaf: leaf[None], self.again(seed))

  def weighted(self, weights: jax.Array) -> Any:
    """It times the one weight."""
    return self.again(weights[0])


class Together:
  """The cotangents of several tasks whose heads are alike.

  Attributes:
    count: How many.
    stack: `stack(seed) -> tree`, all of them times `seed` along a leading axis.
    weighted: `weighted(weights) -> tree`, their sum times weights, (count,).
    again: `again(seed)`, that of the first.
  """

  def __init__(self, count: int, stack: Callable[..., Any], weighted: Callable[..., Any], again: Callable[..., Any]):
    self.count, self.stack, self.weighted, self.again = count, stack, weighted, again

  def each(self) -> list[Any]:
    """The cotangents one by one."""
    stack = self.stack(devices.varying(jnp.ones(())))
    return [entry(stack, i) for i in range(self.count)]


class Cotangents:
  """Those of all tasks of a forward pass, in order.

  Attributes:
    parts: Of some of them each.
  """

  def __init__(self, parts: Sequence[Alone | Together]):
    self.parts = tuple(parts)

  def __len__(self) -> int:
    return sum(part.count for part in self.parts)

  def __iter__(self) -> Iterator[Any]:
    return (one for part in self.parts for one in part.each())

  @property
  def like(self) -> Any:
    """The shapes of one of them."""
    return jax.eval_shape(lambda: self.parts[0].again(devices.varying(jnp.ones(()))))

  def stacks(self, axes: Sequence[int]) -> list[jax.Array]:
    """Their leaves with the tasks along these axes; made part after part, so that only the stacks need exist."""
    seed, tasks = devices.varying(jnp.ones(())), len(self)
    if len(self.parts) == 1 and isinstance(self.parts[0], Together):
      leaves = jax.tree.leaves(self.parts[0].stack(seed))
      return [jnp.moveaxis(leaf, 0, axis) for leaf, axis in zip(leaves, axes, strict=True)]
    likes = jax.tree.leaves(self.like)
    stacks = [
      jnp.zeros((*like.shape[:axis], tasks, *like.shape[axis:]), like.dtype)
      for like, axis in zip(likes, axes, strict=True)
    ]
    task = 0
    for part in self.parts:
      leaves = jax.tree.leaves(part.stack(seed))
      stacks = [
        jax.lax.dynamic_update_slice_in_dim(stack, jnp.moveaxis(leaf, 0, axis), task, axis)
        for stack, leaf, axis in zip(stacks, leaves, axes, strict=True)
      ]
      seed = 1 + zero_after(next(iter(leaves), seed))
      task += part.count
    return stacks

  def weighted(self, weights: jax.Array) -> list[Any]:
    """Terms of the sum of all times weights, (T,)."""
    terms, task = [], 0
    for part in self.parts:
      terms.append(part.weighted(weights[task : task + part.count]))
      task += part.count
    return terms
