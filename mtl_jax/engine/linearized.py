"""An objective after its forward pass: the linear maps every engine pulls cotangents back through."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core import devices
from mtl_jax.balance.serving import spread
from mtl_jax.engine._cotangents import Cotangents


class Own(NamedTuple):
  """The way back of one of several forward passes that are alike.

  Attributes:
    pull: `pull(residuals, cotangent) -> shared_grads`, for one of them.
    residuals: What their forward passes left.
    axes: For each of it 0, where each pass left its own along a leading axis, or None: it is the same for all.
  """

  pull: Callable[[Any, Any], Any]
  residuals: list[jax.Array]
  axes: list[int | None]


class Pullback(NamedTuple):
  """The tasks that share one forward pass, and the way from their features back to the shared parameters.

  Attributes:
    tasks: Their positions in the order of all tasks; those of the batch's part k are T k to T (k + 1).
    cotangents: For each of them the gradient of its loss with respect to the features, those of floating point.
    weighted: `weighted(weights) -> cotangent`, the sum of them times weights, (T,) of all tasks: computed anew, so that
      nobody keeps T cotangents while task gradients are taken.
    pull: `pull(cotangent) -> shared_grads`, linear: one backward pass of the trunk. In a program for one device of
      several, that device's share of the gradient.
    pull_all: The same with the gradient of the objective's terms, in the same pass; None: it has none.
    pull_terms: `pull_terms() -> shared_grads`, the gradient of the terms alone; None: there are none.
    own: Where each task has a forward pass of its own, all alike, one task's way back; None: they share one. Then
      `weighted` and `pull` are of the features of all of them, along a leading axis.
  """

  tasks: tuple[int, ...]
  cotangents: Cotangents
  weighted: Callable[[jax.Array], Any]
  pull: Callable[[Any], Any]
  pull_all: Callable[[Any], Any] | None = None
  pull_terms: Callable[[], Any] | None = None
  own: Own | None = None

  def last(self, weights: jax.Array) -> Any:
    """The gradient of the weighted losses, weights (T,), and of the terms: the last backward pass of a step."""
    return (self.pull_all or self.pull)(self.weighted(weights))

  def each(self) -> Iterator[Any]:
    """The gradient of each of its tasks."""
    if self.own is None:
      yield from map(self.pull, self.cotangents)
      return
    for i, cotangent in enumerate(self.cotangents):
      left = zip(self.own.residuals, self.own.axes, strict=True)
      yield self.own.pull([leaf if axis is None else leaf[i] for leaf, axis in left], cotangent)

  @property
  def many(self) -> bool:
    """Whether its tasks are so many that a program should not name each."""
    return any(part.count > 1 for part in self.cotangents.parts)

  def batch(self, *, in_turn: bool = False) -> Any:
    """The gradients of all its tasks as one batch, leaves (T, ...); `in_turn`: by a loop, if they share a pass."""
    count, structure = len(self.cotangents), jax.tree.structure(self.cotangents.like)
    stacks = jax.tree.unflatten(structure, self.cotangents.stacks([0] * structure.num_leaves))
    if self.own is None and in_turn:
      return jax.lax.map(self.pull, stacks)
    if self.own is None:
      return jax.vmap(self.pull, axis_size=count)(stacks)
    return jax.vmap(self.own.pull, in_axes=(list(self.own.axes), 0))(list(self.own.residuals), stacks)


class Linearized(NamedTuple):
  """An objective after its forward pass.

  Attributes:
    names: The tasks, in the order of all vectors over tasks.
    losses: (T,), float32; the mean over the parts of the batch.
    aux: The objective's aux.
    shared: The shared parameters.
    pullbacks: One a group of tasks with the same features.
    pull_heads: `pull_heads(weights) -> task_grads`: each head's gradient of its own loss, times its weight.
    at_features: Whether the cotangents are gradients at a shared representation (a net with a cut), or merely the
      T unit vectors of the losses.
    shares: The share of each part of the batch in the gradient, as in `Balancer`.
    present: Which tasks have labels in which part of the batch, (parts, T) bool; None: all have.
    terms: The values of the objective's terms by name; the mean over the parts of the batch.
  """

  names: tuple[str, ...]
  losses: jax.Array
  aux: dict[str, Any]
  shared: Any
  pullbacks: tuple[Pullback, ...]
  pull_heads: Callable[[jax.Array], Any]
  at_features: bool
  shares: tuple[float, ...] = (1.0,)
  present: jax.Array | None = None
  terms: Mapping[str, jax.Array] = {}

  @property
  def here(self) -> jax.Array:
    """Which tasks have labels anywhere in the batch, (T,) bool."""
    return jnp.ones(len(self.names), bool) if self.present is None else jnp.any(self.present, axis=0)

  def pull(self, weights: jax.Array) -> Any:
    """The gradient of the shared parameters, sum_t w_t g_t, and that of the terms, one backward pass per pullback."""
    weights = spread(weights, self.shares, self.present)
    return devices.total(added(pullback.last(weights) for pullback in self.pullbacks))

  def with_terms(self, gradient: Any) -> Any:
    """A gradient sum_t w_t g_t, found otherwise, with that of the terms, if any: one more backward pass for it."""
    own = [pullback.pull_terms() for pullback in self.pullbacks if pullback.pull_terms is not None]
    return jax.tree.map(jnp.add, gradient, devices.total(added(own))) if own else gradient


def in_task_order(pullbacks: tuple[Pullback, ...]) -> np.ndarray:
  """Indices that bring the tasks of all pullbacks, one pullback after the other, into the order of all tasks."""
  return np.argsort([task for pullback in pullbacks for task in pullback.tasks])


def in_place(order: np.ndarray) -> bool:
  """Whether such indices change nothing."""
  return bool(np.array_equal(order, np.arange(len(order))))


def added(trees: Iterable[Any]) -> Any:
  """The sum of trees."""
  return jax.tree.map(lambda *leaves: functools.reduce(jnp.add, leaves), *trees)
