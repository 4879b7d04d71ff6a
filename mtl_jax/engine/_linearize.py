"""One forward pass of an objective, and the linear maps every engine pulls cotangents back through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.objective import Objective


class Pullback(NamedTuple):
  """The tasks that share one forward pass, and the way from their features back to the shared parameters.

  Attributes:
    tasks: Their positions in the order of all tasks.
    cotangents: For each of them the gradient of its loss with respect to the features.
    pull: `pull(cotangent) -> shared_grads`, linear: one backward pass of the trunk.
  """

  tasks: tuple[int, ...]
  cotangents: tuple[Any, ...]
  pull: Callable[[Any], Any]


class Linearized(NamedTuple):
  """An objective after its forward pass.

  Attributes:
    names: The tasks, in the order of all vectors over tasks.
    losses: (T,), float32.
    aux: The objective's aux.
    pullbacks: One a group of tasks with the same features.
    pull_heads: `pull_heads(weights) -> task_grads`: each head's gradient of its own loss, times its weight.
    at_features: Whether the cotangents are gradients at a shared representation (a net with a cut), or merely the
      T unit vectors of the losses.
  """

  names: tuple[str, ...]
  losses: jax.Array
  aux: dict[str, Any]
  pullbacks: tuple[Pullback, ...]
  pull_heads: Callable[[jax.Array], Any]
  at_features: bool

  def pull(self, weights: jax.Array) -> Any:
    """The gradient of the shared parameters, sum_t w_t g_t, in one backward pass a group."""
    total = None
    for pullback in self.pullbacks:
      cotangent = None
      for task, own in zip(pullback.tasks, pullback.cotangents, strict=True):
        scaled = jax.tree.map(lambda c, w=weights[task]: c * w.astype(c.dtype), own)
        cotangent = scaled if cotangent is None else jax.tree.map(jnp.add, cotangent, scaled)
      grads = pullback.pull(cotangent)
      total = grads if total is None else jax.tree.map(jnp.add, total, grads)
    return total


def linearize(objective: Any, params: Any, state: Any, batch: Any, key: jax.Array | None) -> Linearized:
  """Runs the forward pass of `objective` once and keeps what its backward passes need.

  Args:
    objective: An `Objective`, or any function `(params, state, batch, key) -> ({task: loss}, aux)`.
    params: `{"shared": ..., "task": {name: ...}}`.
    state: The net's state.
    batch: The batch.
    key: The step's PRNG key.

  Returns:
    The `Linearized` objective.
  """
  if isinstance(objective, Objective) and objective.branches is not None:
    return _cut(objective, params, state, batch, key)
  return _whole(objective, params, state, batch, key)


def _whole(objective, params, state, batch, key) -> Linearized:
  names: tuple[str, ...] = ()

  def losses(shared, task):
    nonlocal names
    by_name, aux = objective({"shared": shared, "task": task}, state, batch, key)
    names = objective.names if isinstance(objective, Objective) else tuple(by_name)
    return jnp.stack([jnp.asarray(by_name[name], jnp.float32) for name in names]), aux

  values, vjp, aux = jax.vjp(losses, params["shared"], params["task"], has_aux=True)
  units = tuple(jnp.eye(len(names), dtype=jnp.float32))
  pullback = Pullback(tuple(range(len(names))), units, lambda cotangent: vjp(cotangent)[0])
  return Linearized(names, values, aux, (pullback,), lambda weights: vjp(weights)[1], at_features=False)


def _cut(objective: Objective, params, state, batch, key) -> Linearized:
  assert objective.branches is not None
  branches, keys = objective.branches(key)
  shared, task_state = state["shared"], dict(state["task"])
  losses, head_grads, groups = {}, {}, []
  for branch in branches:
    features, vjp, shared = jax.vjp(
      lambda p, branch=branch, shared=shared: branch.trunk(p, shared, batch, keys["shared"]),
      params["shared"],
      has_aux=True,
    )
    cotangents = []
    for name, head in branch.heads.items():
      # Each head sees one task only: its own vjp costs T small backward passes in all, not T of every head.
      losses[name], head_vjp, task_state[name] = jax.vjp(
        lambda p, f, name=name, head=head: head(p, task_state[name], f, batch, keys["task"][name]),
        params["task"][name],
        features,
        has_aux=True,
      )
      head_grads[name], cotangent = head_vjp(jnp.ones((), losses[name].dtype))
      cotangents.append(cotangent)
    groups.append((tuple(branch.heads), tuple(cotangents), lambda c, vjp=vjp: vjp(c)[0]))
  names = objective.names
  position = {name: i for i, name in enumerate(names)}

  def pull_heads(weights):
    return {
      name: jax.tree.map(lambda g, w=weights[position[name]]: g * w.astype(g.dtype), grads)
      for name, grads in head_grads.items()
    }

  return Linearized(
    names,
    jnp.stack([losses[name] for name in names]).astype(jnp.float32),
    {"state": {"shared": shared, "task": task_state}},
    tuple(Pullback(tuple(position[n] for n in group), cotangents, pull) for group, cotangents, pull in groups),
    pull_heads,
    at_features=True,
  )
