"""`Balancer`, how task gradients are combined: statistics of the tasks in, one weight per task out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.balance.toolkit.rows import column

State = Any
Weigh = Callable[..., tuple[jax.Array, State]]


class Stats(NamedTuple):
  """What a balancer may look at; the engine fills in what the balancer `needs`, the rest stays None.

  Attributes:
    losses: The plain task losses, (T,).
    gram: $G = J J^T$, the inner products of the task gradients, (T, T), float32.
    cross_gram: $J_1 J_2^T$, (T, T), float32: the gradients on the first part of the batch against those on the second,
      two independent samples of the same expectation.
    rows: J itself, the task gradients of the shared parameters, leaves (T, ...).
    present: Which tasks have labels in this batch, (T,) bool; None: all. The gradients of the others are 0, and their
      losses mean nothing.
  """

  losses: jax.Array
  gram: Any = None
  cross_gram: Any = None
  rows: Any = None
  present: Any = None

  @property
  def num_present(self) -> jax.Array:
    """The number of tasks present, at least 1, in the dtype of the losses."""
    tasks = self.losses.shape[0]
    count = tasks if self.present is None else jnp.maximum(jnp.sum(self.present), 1)
    return jnp.asarray(count, self.losses.dtype)

  def filled(self) -> Stats:
    """The statistics with `present` as an array, and losses of 1, whose logarithm is harmless, for absent tasks."""
    present = jnp.ones(self.losses.shape[0], bool) if self.present is None else self.present
    return self._replace(present=present, losses=jnp.where(present, self.losses, jnp.ones_like(self.losses)))

  def scaled(self, factors: jax.Array) -> Stats:
    """The statistics after each loss is multiplied by its factor.

    Args:
      factors: One per task, (T,).

    Returns:
      The statistics; what is None stays None.
    """
    square = factors[:, None] * factors[None, :]
    return self._replace(
      losses=self.losses * factors,
      gram=None if self.gram is None else self.gram * square,
      cross_gram=None if self.cross_gram is None else self.cross_gram * square,
      rows=jax.tree.map(lambda r: r * column(factors, r), self.rows),
    )


class Balancer(NamedTuple):
  """A method of balancing tasks, as pure functions of the tasks' statistics.

  Weights multiply the plain gradients of the plain losses; equal weighting is all ones.

  A task without labels in the whole batch is absent from that step. The weights of the tasks that are present are those
  of the method on them alone, an absent task has weight 0, and what the state holds of it stays as it is.

  Attributes:
    init: `init(num_tasks, shared=None) -> state`, a pytree; a random method keeps its PRNG key there. `shared` are the
      shared parameters, which only methods that remember gradients look at.
    weigh: `weigh(stats, state) -> (weights, state)`, weights (T,): the update of the shared parameters is the
      pull-back $J^T w$.
    needs: All that the method reads: fields of `Stats`, which any engine that serves them fills in, and
      `"losses_after"` if it wants to `observe`, for which the step makes a second forward pass.
    head_weights: `head_weights(weights, state) -> (T,)`, the factor of each head's gradient of its own loss. With
      gradient balancers heads get that gradient unweighted, with loss weighters weighted.
    report: `report(state) -> {name: array}`, what the step's metrics show of the state: learned parameters, and
      how far an iterative solver was from convergence.
    combine: `combine(stats, state) -> (update, weights, state)`, the update as a tree like a row: for methods whose
      update is no pull-back of weights. None: `weigh` decides. Such methods need the `rows`.
    observe: `observe(before, after, state) -> state`, called with the `Stats` of the losses before and after the
      update of the parameters, on the same batch with the same dropout, for methods that need `"losses_after"`.
    shares: The batch is cut into as many independent parts, each with gradients of its own (for `cross_gram`); these
      shares, which sum to 1, make the gradient that the weights multiply.
    layers: A regular expression: only shared parameters whose path it matches enter the Gram matrices. None: all.
    losses_above: Each loss must be larger, a number or (T,): 0 for methods that take logarithms.
    scale: What equal weighting is to the method: `"sum"`, all ones; `"mean"`, 1 / T; `"other"`, neither.
    by_name: `by_name(names) -> Balancer`, the method on tasks of these names, for methods whose options are given by
      name. None: names do not matter.
  """

  init: Callable[..., State]
  weigh: Callable[[Stats, State], tuple[jax.Array, State]]
  needs: frozenset[str]
  head_weights: Callable[[jax.Array, State], jax.Array] = lambda weights, state: jnp.ones_like(weights)
  report: Callable[[State], dict[str, jax.Array]] = lambda state: {}
  combine: Callable[[Stats, State], tuple[Any, jax.Array, State]] | None = None
  observe: Callable[[Stats, Stats, State], State] = lambda before, after, state: state
  shares: tuple[float, ...] = (1.0,)
  layers: str | None = None
  losses_above: Any = -jnp.inf
  scale: Literal["sum", "mean", "other"] = "sum"
  by_name: Callable[[tuple[str, ...]], Balancer] | None = None

  def for_tasks(self, names: Iterable[str]) -> Balancer:
    """The method on tasks of these names, with options that were given by name in their order.

    Args:
      names: The tasks, in the order of all vectors over tasks.

    Returns:
      The balancer; itself where names do not matter.

    Raises:
      UserError: The options are not those of these tasks.
    """
    return self if self.by_name is None else self.by_name(tuple(names))

  def around(self, step: Callable[..., tuple[Any, jax.Array, State]], **changes: Any) -> Balancer:
    """A balancer that does something before and after this one; what is not changed stays as it is.

    Args:
      step: `step(inner, stats, state) -> (update, weights, state)`, where `inner(stats, state)` is this balancer in
        the same form. The update is None where weights make it, which `jax.tree.map` passes on.
      changes: Further fields. What `observe` is counts only where the losses after the update are needed; `by_name` is
        that of what is returned, not of this balancer.

    Returns:
      The balancer, which gives what this one gives, weights or an update.
    """

    def weighed(stats, state):
      return None, *self.weigh(stats, state)

    def weigh(stats, state):
      _, weights, state = step(weighed, stats, state)
      return weights, state

    def combine(stats, state):
      return step(self.combine, stats, state)

    made = self._replace(weigh=weigh, combine=combine if self.combine else None, **{"by_name": None, **changes})
    return made if "losses_after" in made.needs else made._replace(observe=Balancer._field_defaults["observe"])


def loss_weighter(init: Callable[[int], State], weigh: Weigh, **options: Any) -> Balancer:
  """A balancer that reads the losses only, whose weights scale the heads' gradients too.

  Here and below `weigh` gets `Stats.filled`; the weights that it gives absent tasks are replaced by 0.
  """
  return Balancer(
    without_shared(init),
    _of_present(weigh),
    frozenset({"losses"}),
    head_weights=lambda weights, state: weights,
    **options,
  )


def gram_balancer(init: Callable[[int], State], weigh: Weigh, *, losses: bool = False, **options: Any) -> Balancer:
  """A balancer that reads the Gram matrix, and maybe the losses; it leaves the heads' gradients alone."""
  return Balancer(without_shared(init), _of_present(weigh), _needs("gram", losses=losses), **options)


def cross_gram_balancer(init: Callable[[int], State], weigh: Weigh, *, third: bool = False, **options: Any) -> Balancer:
  """A balancer that reads the gradients on the two halves of the batch against each other.

  Args:
    init: As in `Balancer`.
    weigh: As in `loss_weighter`.
    third: Cut the batch into three parts, the last for the update alone; False: the update takes both halves.
    options: As in `Balancer`.

  Returns:
    The balancer.
  """
  shares = (0.0, 0.0, 1.0) if third else (0.5, 0.5)
  return Balancer(without_shared(init), _of_present(weigh), _needs("gram", "cross_gram"), shares=shares, **options)


def row_method(
  init: Callable[[int, Any], State], combine: Callable[..., Any], *, losses: bool = False, **options: Any
) -> Balancer:
  """A method that makes the update from the task gradients themselves, `combine` in place of `weigh`."""

  def combine_present(stats, state):
    stats = stats.filled()
    update, weights, state = combine(stats, state)
    return update, jnp.where(stats.present, weights, 0.0), state

  def weigh(stats, state):
    _, weights, state = combine_present(stats, state)
    return weights, state

  return Balancer(init, weigh, _needs("rows", losses=losses), combine=combine_present, **options)


def _of_present(weigh: Weigh) -> Weigh:
  def weigh_present(stats, state):
    stats = stats.filled()
    weights, state = weigh(stats, state)
    return jnp.where(stats.present, weights, 0.0), state

  return weigh_present


def _needs(*fields: str, losses: bool = False) -> frozenset[str]:
  return frozenset(fields) | ({"losses"} if losses else frozenset())


def stateless(num_tasks: int, shared: Any = None) -> tuple[()]:
  """The `init` of a method without memory."""
  del num_tasks, shared
  return ()


def without_shared(init: Callable[[int], State]) -> Callable[..., State]:
  """The `init` of a method that does not look at the shared parameters."""
  return lambda num_tasks, shared=None: init(num_tasks)
