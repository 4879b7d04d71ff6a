"""`Balancer`, how task gradients are combined: statistics of the tasks in, one weight a task out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

State = Any


class Stats(NamedTuple):
  """What a balancer may look at; the engine fills in what the balancer `needs`, the rest stays None.

  Attributes:
    losses: The plain task losses, (T,).
    gram: $G = J J^T$, the inner products of the task gradients, (T, T), float32.
  """

  losses: jax.Array
  gram: Any = None


class Balancer(NamedTuple):
  """A method of balancing tasks, as pure functions of the tasks' statistics.

  Weights multiply the plain gradients of the plain losses; equal weighting is all ones.

  Attributes:
    init: `init(num_tasks) -> state`, a pytree; a random method keeps its PRNG key there.
    weigh: `weigh(stats, state) -> (weights, state)`, weights (T,): the update of the shared parameters is the
      pull-back $J^T w$.
    needs: The fields of `Stats` that `weigh` reads. Any engine that serves them can run the method.
    head_weights: `head_weights(weights, state) -> (T,)`, the factor of each head's gradient of its own loss. With
      gradient balancers heads get that gradient unweighted, with loss weighters weighted.
    report: `report(state) -> {name: array}`, what the step's metrics show of the state: learned parameters, and
      how far an iterative solver was from convergence.
  """

  init: Callable[[int], State]
  weigh: Callable[[Stats, State], tuple[jax.Array, State]]
  needs: frozenset[str]
  head_weights: Callable[[jax.Array, State], jax.Array] = lambda weights, state: jnp.ones_like(weights)
  report: Callable[[State], dict[str, jax.Array]] = lambda state: {}


def loss_weighter(init: Callable[[int], State], weigh: Callable[..., Any], **options: Any) -> Balancer:
  """A balancer that reads the losses only, whose weights scale the heads' gradients too."""
  return Balancer(init, weigh, frozenset({"losses"}), head_weights=lambda weights, state: weights, **options)


def gram_balancer(init: Callable[[int], State], weigh: Callable[..., Any], **options: Any) -> Balancer:
  """A balancer that reads the Gram matrix, hence leaves the heads' gradients alone."""
  return Balancer(init, weigh, frozenset({"losses", "gram"}), **options)


def stateless(num_tasks: int) -> tuple[()]:
  """The `init` of a method without memory."""
  del num_tasks
  return ()
