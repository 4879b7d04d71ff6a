"""`aggregate`, a balancer as an optax transformation of stacked task gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from mtl_jax._core.errors import UserError
from mtl_jax._core.paths import by_path
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.named import as_balancer
from mtl_jax.balance.serving import combine, weighted_sum


class AggregateState(NamedTuple):
  """The balancer's state and the weights of the last update, (T,)."""

  balancer: Any
  weights: jax.Array


class TaskGradients:
  """Task gradients on their way to `aggregate`, and nowhere else.

  No array and no tree of arrays: any other transformation of a chain that gets to see them fails, by the line below or
  by JAX's, which names this class. As arrays they would pass through it unnoticed, broadcast against its state per
  parameter.

  Args:
    stacked: A tree of leaves (T, ...) where parameters have leaves (...).
  """

  def __init__(self, stacked: Any):
    self.stacked = stacked

  def _refuse(self, *_: Any, **__: Any) -> NoReturn:
    raise UserError(
      "TaskGradients are for mtl.aggregate alone: it must be the first transformation of its chain, outside of any "
      "that may leave it out (optax.apply_if_finite), and tx.update(mtl.TaskGradients(gradients), ...) must be called "
      "inside of the jitted function."
    )

  # What is asked of an array.
  __array__ = _refuse
  __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
  __neg__ = __abs__ = __pow__ = __rpow__ = __lt__ = __gt__ = __le__ = __ge__ = _refuse

  def __getattr__(self, name: str) -> NoReturn:
    if name.startswith("__"):  # Python's own questions
      raise AttributeError(name)
    self._refuse()


def trunk_of(params: Any) -> Any:
  """Which parameters are shared: the subtree `shared` of `{"shared": ..., "task": ...}`, else all."""
  if isinstance(params, dict) and set(params) == {"shared", "task"}:
    return {"shared": True, "task": False}
  return True


def aggregate(
  balancer: Balancer | str, num_tasks: int, shared: Callable[[Any], Any] = trunk_of
) -> optax.GradientTransformationExtraArgs:
  """Combines stacked task gradients into one gradient, as the first transformation of an optax chain.

  For people who have their own task gradients, for example from `jax.jacrev` of a vector of losses (real or complex,
  as JAX gives them):

      tx = optax.chain(mtl.aggregate(mtl.balance.pcgrad(), num_tasks=3), optax.adam(1e-3))
      updates, opt_state = tx.update(mtl.TaskGradients(stacked), opt_state, params, losses=losses)

  Args:
    balancer: The method, or its name.
    num_tasks: T. Gradients have leaves (T, ...) where parameters have leaves (...).
    shared: `shared(params)` gives a tree of bools, or a prefix of one: which parameters the balancer sees. The others
      belong to one task each (their rows of other tasks are zero) and get the gradient of their own loss, as with
      the engines.

  Returns:
    The transformation. Its `update` takes `losses=`, (T,), which loss weighters need.

  Raises:
    UserError: In `update`: gradients that are not stacked, or no `TaskGradients`; a transformation before it in the
      chain, or one around it that may leave it out, such as `optax.apply_if_finite` (where JAX is the first to notice,
      its `TypeError` or `ValueError`, which names `TaskGradients`); no `losses` for a balancer that reads them, or a
      loss outside its domain (seen outside of `jax.jit` only); no shared parameter. At once: a balancer that needs
      more than stacked gradients and losses.

  >>> tx = optax.chain(aggregate(__import__("mtl_jax").balance.mgda(), num_tasks=2), optax.sgd(1.0))
  >>> params = {"w": jnp.zeros(3)}
  >>> stacked = {"w": jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])}
  >>> updates, _ = tx.update(TaskGradients(stacked), tx.init(params), params, losses=jnp.ones(2))
  >>> updates["w"].round(3).tolist()
  [-0.0, -1.0, -1.0]
  """
  balancer = as_balancer(balancer)
  missing = balancer.needs - {"losses", "gram", "rows"}
  if missing:
    what = ", ".join(sorted(missing))
    raise UserError(f"aggregate cannot serve this balancer: it needs {what}. Use mtl.make_train_step.")

  def init(params):
    leaves, owned = _flatten(params, params)
    trunk = {path: leaf for (path, leaf), own in zip(leaves.items(), owned, strict=True) if own}
    return AggregateState(balancer.init(num_tasks, trunk), jnp.ones(num_tasks, jnp.float32))

  def _flatten(tree, params):
    leaves = by_path(tree)
    return leaves, jax.tree.leaves(_broadcast(shared(params), tree))

  def update(updates, state, params=None, *, losses=None, **extra):
    del extra
    if not isinstance(updates, TaskGradients):
      raise UserError(
        f"aggregate: the gradients are a {type(updates).__name__}, expected stacked task gradients, marked as such: "
        "tx.update(mtl.TaskGradients(gradients), ...)."
      )
    updates = updates.stacked
    _check_stacked(updates, params, num_tasks)
    if losses is None:
      if "losses" in balancer.needs:
        raise UserError("aggregate: this balancer reads the losses: pass them, tx.update(..., losses=losses).")
      losses = jnp.full(num_tasks, jnp.nan, jnp.float32)  # not read
    if isinstance(losses, Mapping):
      raise UserError(f"aggregate: losses are given by name, expected an array ({num_tasks},) in the gradients' order.")
    losses = jnp.asarray(losses, jnp.float32)
    if losses.shape != (num_tasks,):
      raise UserError(f"aggregate: losses have shape {losses.shape}, expected ({num_tasks},), one per task.")
    _check_losses(losses, balancer)
    leaves, is_shared = _flatten(updates, updates if params is None else params)
    rows = {path: leaf for (path, leaf), own in zip(leaves.items(), is_shared, strict=True) if own}
    if not rows and balancer.needs != {"losses"}:
      raise UserError("aggregate: no parameter is shared, so there is nothing to balance: see the option shared=.")
    combined, weights, balancer_state = combine(balancer, rows, losses, state.balancer)
    head_weights = balancer.head_weights(weights, balancer_state)
    merged = [combined[path] if path in rows else weighted_sum(head_weights, leaf) for path, leaf in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(updates), merged), AggregateState(balancer_state, weights)

  return optax.GradientTransformationExtraArgs(init, update)


def _check_losses(losses: jax.Array, balancer: Balancer) -> None:
  """Outside of jit the values are there to be looked at; inside, weights become NaN."""
  if isinstance(losses, Tracer):
    return
  values = np.asarray(losses)  # one transfer
  bounds = np.broadcast_to(np.asarray(balancer.losses_above, values.dtype), values.shape)
  for task, (value, bound) in enumerate(zip(values, bounds, strict=True)):
    if value <= bound:
      raise UserError(f"aggregate: the loss of task {task} is {value}, this balancer expects it above {bound}.")


def _broadcast(prefix: Any, tree: Any) -> Any:
  return jax.tree.map(lambda value, subtree: jax.tree.map(lambda _: value, subtree), prefix, tree)


def _check_stacked(updates: Any, params: Any, num_tasks: int) -> None:
  found = jax.tree_util.tree_leaves_with_path(updates)
  shapes = [None] * len(found) if params is None else [jnp.shape(p) for p in jax.tree.leaves(params)]
  if not found or len(shapes) != len(found):
    raise UserError("aggregate: the gradients and the parameters have different structures.")
  for (path, leaf), shape in zip(found, shapes, strict=True):
    expected = f"({num_tasks}, ...)" if shape is None else (num_tasks, *shape)
    stacked = leaf.shape[:1] == (num_tasks,) if shape is None else leaf.shape == expected
    if not stacked:
      raise UserError(
        f"aggregate: the gradient of {jax.tree_util.keystr(path)} has shape {leaf.shape}, expected {expected}: "
        "gradients stacked over the tasks."
      )
