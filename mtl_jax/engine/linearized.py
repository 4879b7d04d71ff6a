"""One forward pass of an objective, and the linear maps every engine pulls cotangents back through."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core import devices
from mtl_jax._core.errors import UserError
from mtl_jax._core.partition import joined
from mtl_jax._core.paths import by_path
from mtl_jax.balance.serving import shares_of, spread
from mtl_jax.engine._leaves import divided
from mtl_jax.objective import Objective
from mtl_jax.terms import amounts, total


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
  """

  tasks: tuple[int, ...]
  cotangents: tuple[Any, ...]
  each: tuple[Callable[[jax.Array], Any], ...]
  weighted: Callable[[jax.Array], Any]
  pull: Callable[[Any], Any]
  pull_all: Callable[[Any], Any] | None = None

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
    split: The share of each part of the batch in the gradient, as in `Balancer`.
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
  split: tuple[float, ...] = (1.0,)
  present: jax.Array | None = None
  terms: Mapping[str, jax.Array] = {}

  @property
  def here(self) -> jax.Array:
    """Which tasks have labels anywhere in the batch, (T,) bool."""
    return jnp.ones(len(self.names), bool) if self.present is None else jnp.any(self.present, axis=0)

  def pull(self, weights: jax.Array) -> Any:
    """The gradient of the shared parameters, sum_t w_t g_t, and that of the terms, one backward pass per pullback."""
    weights = spread(weights, self.split, self.present)
    return devices.total(_added(pullback.last(weights) for pullback in self.pullbacks))

  def with_terms(self, gradient: Any) -> Any:
    """A gradient sum_t w_t g_t, found otherwise, with that of the terms, if any: one more backward pass for it."""
    own = [pullback for pullback in self.pullbacks if pullback.pull_all is not None]
    if not own:
      return gradient
    zeros = jnp.zeros(len(self.split) * len(self.names), jnp.float32)
    return jax.tree.map(jnp.add, gradient, devices.total(_added(pullback.last(zeros) for pullback in own)))


def in_task_order(pullbacks: tuple[Pullback, ...]) -> np.ndarray:
  """Indices that bring the tasks of all pullbacks, one pullback after the other, into the order of all tasks."""
  return np.argsort([task for pullback in pullbacks for task in pullback.tasks])


def linearize(
  objective: Any, params: Any, state: Any, batch: Any, key: jax.Array | None, split: tuple[float, ...] = (1.0,)
) -> Linearized:
  """Runs the forward pass of `objective` once and keeps what its backward passes need.

  Args:
    objective: An `Objective`, or any function `(params, state, batch, key) -> ({task: loss}, aux)`.
    params: `{"shared": ..., "task": {name: ...}}`.
    state: The net's state.
    batch: The batch.
    key: The step's PRNG key.
    split: The shares of the parts that the batch is cut into, as in `Balancer`. Together their passes cost what one
      over the whole batch costs; batch statistics are those of each part.

  Returns:
    The `Linearized` objective.

  Raises:
    UserError: A parameter is no floating-point number, or the batch cannot be cut into its parts.
  """
  cut = isinstance(objective, Objective) and objective.branches is not None
  parts = []
  _check_numbers(params)
  params = devices.own(params)
  for share, (part, part_key) in zip(split, _parts(batch, key, len(split)), strict=True):
    linear = (_cut if cut else _whole)(objective, params, state, part, part_key, share)
    present = labelled(objective, linear.names, part, lambda aux=linear.aux: aux)
    parts.append(linear._replace(present=None if present is None else present[None]))
    state = linear.aux.get("state", state)
  return _over_devices(parts[0] if len(parts) == 1 else _join(parts, split))


def _check_numbers(params: Any) -> None:
  """Raises a `UserError` for a parameter that has no gradient."""
  for path, leaf in by_path(divided(params)[1]).items():
    raise UserError(
      f"parameter {path} has dtype {jax.typeof(leaf).dtype}, which has no gradient: make it a floating-point number, "
      "or keep it in the net's state."
    )


def losses_of(
  objective: Any,
  names: tuple[str, ...],
  params: Any,
  state: Any,
  batch: Any,
  key: jax.Array | None,
  split: tuple[float, ...],
  present: jax.Array | None = None,
) -> jax.Array:
  """The losses that `linearize` would find, (T,), in the order of `names`; the net's new state is dropped."""
  parts = _parts(batch, key, len(split))
  found = [in_order(_call(objective, params, state, part, part_key)[0], names) for part, part_key in parts]
  return devices.total(_mean(found, present))


def labelled(
  objective: Any, names: tuple[str, ...], batch: Any, aux: Callable[[], Mapping[str, Any]]
) -> jax.Array | None:
  """Which tasks have labels in the batch, over all devices, (T,) bool; None where all always have.

  Args:
    objective: The objective.
    names: Its tasks.
    batch: The batch.
    aux: Gives what a plain function gives beside the losses on this batch.
  """
  by_name = objective.present(batch) if isinstance(objective, Objective) else aux().get("present", {})
  if not any(name in by_name for name in names):
    return None
  here = jnp.stack([jnp.asarray(by_name.get(name, True), bool) for name in names])
  return here if isinstance(objective, Objective) else devices.total(here.astype(jnp.float32)) > 0


def in_order(by_name: dict[str, jax.Array], names: tuple[str, ...]) -> jax.Array:
  """Losses by name as one vector, (T,), float32."""
  return jnp.stack([jnp.asarray(by_name[name], jnp.float32) for name in names])


def _call(objective: Any, params: Any, state: Any, batch: Any, key: jax.Array | None) -> tuple[dict[str, Any], Any]:
  """The objective; any function's losses are taken for means over the device's examples, equally many on each."""
  losses, aux = objective(params, state, batch, key)
  if not isinstance(objective, Objective) and devices.is_local():
    losses, terms = ({n: x / devices.count() for n, x in each.items()} for each in (losses, aux.get("terms", {})))
    aux = {**aux, "terms": terms}
  return losses, aux


def _over_devices(local: Linearized) -> Linearized:
  """The losses and the heads' gradients of all devices; task gradients stay each device's own share."""
  return local._replace(
    losses=devices.total(local.losses),
    pull_heads=lambda weights: devices.total(local.pull_heads(weights)),
    terms=devices.total(local.terms),
  )


def _parts(batch: Any, key: jax.Array | None, count: int) -> list[tuple[Any, jax.Array | None]]:
  """The batch dealt out to `count` parts, each with a key of its own; so has each device."""
  if key is not None and devices.is_local():
    key = jax.random.fold_in(key, jax.lax.axis_index(devices.DATA))
  if count == 1:
    return [(batch, key)]
  sizes = {jax.tree_util.keystr(path): jnp.shape(leaf)[:1] for path, leaf in jax.tree_util.tree_leaves_with_path(batch)}
  if len(set(sizes.values())) > 1 or () in sizes.values():
    shapes = ", ".join(f"{name} {size}" for name, size in sizes.items())
    raise UserError(
      f"this balancer cuts the batch into {count} parts: all arrays must have as many examples ({shapes})."
    )
  (size,) = next(iter(sizes.values()))
  if size % count:
    raise UserError(
      f"this balancer cuts the batch into {count} parts: a batch of {size} examples cannot be, choose a multiple "
      f"of {count}."
    )
  # Every count-th example: on a sharded batch each device deals out its own, and nothing is sent.
  dealt = jax.tree.map(lambda leaf: jnp.reshape(leaf, (size // count, count, *leaf.shape[1:])), batch)
  return [
    (jax.tree.map(lambda leaf, i=i: leaf[:, i], dealt), None if key is None else jax.random.fold_in(key, i))
    for i in range(count)
  ]


def _join(parts: list[Linearized], split: tuple[float, ...]) -> Linearized:
  tasks = len(parts[0].names)
  pullbacks = tuple(
    pullback._replace(
      tasks=tuple(task + i * tasks for task in pullback.tasks),
      weighted=lambda weights, i=i, own=pullback.weighted: own(weights[i * tasks : (i + 1) * tasks]),
    )
    for i, part in enumerate(parts)
    for pullback in part.pullbacks
  )

  rows = [part.present for part in parts if part.present is not None]
  present = jnp.concatenate(rows) if rows else None
  shares = shares_of(split, tasks, present)

  def pull_heads(weights):
    used = [(part, own) for part, own, share in zip(parts, shares, split, strict=True) if share]
    return _added(part.pull_heads(weights * own.astype(weights.dtype)) for part, own in used)

  losses = _mean([part.losses for part in parts], present)
  terms = {
    name: sum(share * part.terms[name] for share, part in zip(split, parts, strict=True)) for name in parts[0].terms
  }
  return parts[-1]._replace(
    losses=losses, pullbacks=pullbacks, pull_heads=pull_heads, split=split, present=present, terms=terms
  )


def _mean(losses: list[jax.Array], present: jax.Array | None) -> jax.Array:
  """The losses, (T,), over those parts of the batch that have labels of the task."""
  stacked = jnp.stack(losses)
  if present is None or len(losses) == 1:
    return jnp.mean(stacked, axis=0)
  count = jnp.sum(present, axis=0, dtype=jnp.float32)
  return jnp.sum(jnp.where(present, stacked, 0.0), axis=0) / jnp.maximum(count, 1.0)


def _whole(objective, params, state, batch, key, share: float) -> Linearized:
  names: tuple[str, ...] = ()

  def outputs(shared, task):
    nonlocal names
    by_name, aux = _call(objective, {"shared": shared, "task": task}, state, batch, key)
    names = objective.names if isinstance(objective, Objective) else tuple(by_name)
    terms = amounts(aux.get("terms", {}))
    # Without terms the losses alone, so that nothing of them is in the program.
    return (in_order(by_name, names), share * total(terms)) if terms else (in_order(by_name, names), None), (aux, terms)

  (values, added), vjp, (aux, terms) = jax.vjp(outputs, params["shared"], params["task"], has_aux=True)
  with_terms = added is not None and share > 0.0
  none, all_of_it = (None if added is None else devices.own(make((), added.dtype)) for make in (jnp.zeros, jnp.ones))
  units = tuple(devices.own(jnp.eye(len(names), dtype=jnp.float32)))
  each = tuple(lambda seed, unit=unit: seed * unit for unit in units)

  def pull(cotangent):
    return vjp((cotangent, none))[0]

  def pull_all(cotangent):
    return vjp((cotangent, all_of_it))[0]

  def pull_heads(weights):
    return vjp((devices.own(weights), all_of_it if with_terms else none))[1]

  pullback = Pullback(tuple(range(len(names))), units, each, devices.own, pull, pull_all if with_terms else None)
  values_of = {name: amount.value for name, amount in terms.items()}
  return Linearized(names, values, aux, params["shared"], (pullback,), pull_heads, at_features=False, terms=values_of)


def _cut(objective: Objective, params, state, batch, key, share: float) -> Linearized:
  assert objective.branches is not None
  branches, keys = objective.branches(key)
  shared, task_state = state["shared"], dict(state["task"])
  losses, head_grads, groups, seen = {}, {}, [], []
  for branch in branches:

    def trunk(p, branch=branch, shared=shared):
      features, after = branch.trunk(p, shared, batch, keys["shared"])
      features, others = divided(features)  # masks and indices go on to the heads as they are
      return features, (others, after)

    features, vjp, (others, shared) = jax.vjp(trunk, params["shared"], has_aux=True)
    seen.append((features, others))
    cotangents, each = [], []
    for name, head in branch.heads.items():
      # Each head sees one task only: its own vjp costs T small backward passes in all, not T of every head.
      losses[name], head_vjp, task_state[name] = jax.vjp(
        lambda p, f, name=name, head=head, others=others: head(
          p, task_state[name], joined(f, others), batch, keys["task"][name]
        ),
        params["task"][name],
        features,
        has_aux=True,
      )
      dtype = losses[name].dtype
      head_grads[name], cotangent = head_vjp(devices.own(jnp.ones((), dtype)))
      cotangents.append(cotangent)
      each.append(lambda seed, pull=head_vjp, dtype=dtype: pull(seed.astype(dtype))[1])
    groups.append((tuple(branch.heads), tuple(cotangents), tuple(each), lambda c, vjp=vjp: vjp(c)[0]))
  names = objective.names
  position = {name: i for i, name in enumerate(names)}
  terms = None
  if objective.beside is not None:
    terms = _terms(objective.beside, params, {"shared": shared, "task": state["task"]}, seen, batch, keys, share)
    shared = terms.state["shared"]
    task_state |= terms.state["task"]

  def pull_heads(weights):
    weighted = {
      name: jax.tree.map(lambda g, w=weights[position[name]]: g * w.astype(g.dtype), grads)
      for name, grads in head_grads.items()
    }
    if terms is None:
      return weighted
    return {
      name: jax.tree.map(jnp.add, weighted[name], grads) if name in weighted else grads
      for name, grads in terms.at_heads.items()
    }

  pullbacks = [_branch(tuple(position[name] for name in group), *of_group) for group, *of_group in groups]
  if terms is not None and share > 0.0:
    pullbacks = [_with_terms(pullback, at) for pullback, at in zip(pullbacks, terms.at_features, strict=True)]
    pullbacks[0] = _with_direct(pullbacks[0], terms.at_shared)
  return Linearized(
    names,
    in_order(losses, names),
    {"state": {"shared": shared, "task": task_state}},
    params["shared"],
    tuple(pullbacks),
    pull_heads,
    at_features=True,
    terms={} if terms is None else terms.values,
  )


class _Terms(NamedTuple):
  """The gradients of an objective's terms: at the shared parameters, at the heads, at the features of each branch."""

  at_shared: Any
  at_heads: dict[str, Any]
  at_features: list[Any]
  values: dict[str, jax.Array]
  state: Any


def _terms(beside, params, state, seen: list[tuple[Any, Any]], batch, keys, share: float) -> _Terms:
  def added(shared, task, features):
    whole = [joined(own, others) for own, (_, others) in zip(features, seen, strict=True)]
    value, aux = beside({"shared": shared, "task": task}, state, whole, batch, keys)
    return share * value, aux

  features = [own for own, _ in seen]
  value, vjp, aux = jax.vjp(added, params["shared"], params["task"], features, has_aux=True)
  values = {name: amount.value for name, amount in aux["terms"].items()}
  at_shared, at_heads, at_features = vjp(devices.own(jnp.ones((), value.dtype)))
  return _Terms(at_shared, at_heads, at_features, values, aux["state"])


def _with_terms(pullback: Pullback, at_features: Any) -> Pullback:
  return pullback._replace(pull_all=lambda c: pullback.pull(jax.tree.map(jnp.add, c, at_features)))


def _with_direct(pullback: Pullback, at_shared: Any) -> Pullback:
  through = pullback.pull_all
  assert through is not None
  return pullback._replace(pull_all=lambda c: jax.tree.map(jnp.add, through(c), at_shared))


def _branch(tasks: tuple[int, ...], cotangents: tuple[Any, ...], each: tuple[Any, ...], pull: Any) -> Pullback:
  def weighted(weights):
    weights = devices.own(weights)
    return _added(cotangent(weights[task]) for task, cotangent in zip(tasks, each, strict=True))

  return Pullback(tasks, cotangents, each, weighted, pull)


def _added(trees: Iterable[Any]) -> Any:
  return jax.tree.map(lambda *leaves: functools.reduce(jnp.add, leaves), *trees)
