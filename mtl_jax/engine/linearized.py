"""An objective after its forward pass: the linear maps every engine pulls cotangents back through."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core import devices
from mtl_jax.balance.serving import spread


class Pullback(NamedTuple):
  """The tasks that share one forward pass, and the way from their features back to the shared parameters.

  Attributes:
    tasks: Their positions in the order of all tasks; those of the batch's part k are T k to T (k + 1).
    cotangents: For each of them the gradient of its loss with respect to the features, those of floating point.
    each: The same as functions of what they are multiplied by, so that one can be made to wait for another.
    weighted: `weighted(weights) -> cotangent`, the sum of them times weights, (T,) of all tasks: computed anew, so that
      nobody keeps T cotangents while task gradients are taken.
    pull: `pull(cotangent) -> shared_grads`, linear: one backward pass of the trunk. In a program for one device of
      several, that device's share of the gradient.
    pull_all: The same with the gradient of the objective's terms, in the same pass; None: it has none.
    pull_terms: `pull_terms() -> shared_grads`, the gradient of the terms alone; None: there are none.
  """

  tasks: tuple[int, ...]
  cotangents: tuple[Any, ...]
  each: tuple[Callable[[jax.Array], Any], ...]
  weighted: Callable[[jax.Array], Any]
  pull: Callable[[Any], Any]
  pull_all: Callable[[Any], Any] | None = None
  pull_terms: Callable[[], Any] | None = None

  def last(self, weights: jax.Array) -> Any:
    """The gradient of the weighted losses, weights (T,), and of the terms: the last backward pass of a step."""
    return (self.pull_all or self.pull)(self.weighted(weights))


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


def added(trees: Iterable[Any]) -> Any:
  """The sum of trees."""
  return jax.tree.map(lambda *leaves: functools.reduce(jnp.add, leaves), *trees)
