"""One forward pass of an objective, whole or cut at the shared features, and of its terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core import devices
from mtl_jax._core.packed import Opened, assembled, entry, stack
from mtl_jax._core.partition import joined
from mtl_jax._jaxpr.alike import reached
from mtl_jax._jaxpr.branches import Branches, alike_branches, alike_heads
from mtl_jax.engine._cotangents import Alone, Cotangents
from mtl_jax.engine._heads import Heads, head_alone, heads_together
from mtl_jax.engine._leaves import divided
from mtl_jax.engine.linearized import Linearized, Own, Pullback, added, in_place
from mtl_jax.objective import Objective
from mtl_jax.terms import amounts, total


def in_order(by_name: dict[str, jax.Array], names: tuple[str, ...]) -> jax.Array:
  """Losses by name as one vector, (T,), float32."""
  return jnp.stack([jnp.asarray(by_name[name], jnp.float32) for name in names])


def call(objective: Any, params: Any, state: Any, batch: Any, key: jax.Array | None) -> tuple[dict[str, Any], Any]:
  """The objective; any function's losses are taken for means over the device's examples, equally many on each."""
  losses, aux = objective(params, state, batch, key)
  if not isinstance(objective, Objective) and devices.is_local():
    count = devices.count()
    losses = {name: loss / count for name, loss in losses.items()}
    terms = {name: own._replace(value=own.value / count) for name, own in amounts(aux.get("terms", {})).items()}
    aux = {**aux, "terms": terms}
  return losses, aux


def whole(objective, params, state, batch, key, share: float) -> Linearized:
  """The objective as one function of its parameters; `share`: of this part of the batch in the terms."""
  names: tuple[str, ...] = ()

  def outputs(shared, task):
    nonlocal names
    by_name, aux = call(objective, {"shared": shared, "task": task}, state, batch, key)
    names = objective.names if isinstance(objective, Objective) else tuple(by_name)
    terms = amounts(aux.get("terms", {}))
    # Without terms nothing of them is in the program.
    return (in_order(by_name, names), share * total(terms) if terms else None), (aux, terms)

  (values, of_terms), vjp, (aux, terms) = jax.vjp(outputs, params["shared"], params["task"], has_aux=True)
  with_terms = of_terms is not None and share > 0.0
  zero, one = (
    None if of_terms is None else devices.varying(make((), of_terms.dtype)) for make in (jnp.zeros, jnp.ones)
  )
  units = tuple(devices.varying(jnp.eye(len(names), dtype=jnp.float32)))
  each = Cotangents([Alone(unit, lambda seed, unit=unit: seed * unit) for unit in units])

  def pull(cotangent):
    return vjp((cotangent, zero))[0]

  def pull_all(cotangent):
    return vjp((cotangent, one))[0]

  def pull_heads(weights):
    return vjp((devices.varying(weights), one if with_terms else zero))[1]

  pullback = Pullback(tuple(range(len(names))), each, devices.varying, pull)
  if with_terms:
    pullback = pullback._replace(
      pull_all=pull_all, pull_terms=lambda: pull_all(devices.varying(jnp.zeros(len(names), jnp.float32)))
    )
  values_of = {name: amount.value for name, amount in terms.items()}
  return Linearized(names, values, aux, params["shared"], (pullback,), pull_heads, at_features=False, terms=values_of)


def cut(objective: Objective, params, state, batch, key, share: float) -> Linearized:
  """The objective cut between its trunk and heads; `share`: of this part of the batch in the terms."""
  assert objective.branches is not None
  branches, keys = objective.branches(key)
  position = {name: i for i, name in enumerate(objective.names)}
  shared, passes, opened = state["shared"], [], Opened(batch)
  for several in alike_branches(branches, params, state, opened, keys, train=True):
    run = _one_pass if several.heads is None else _passes_alike
    passes.append(run(several, params, {**state, "shared": shared}, opened, keys))
    shared = passes[-1].shared
  names = [name for one in passes for name in one.names]
  parts = [part for one in passes for part in one.heads]
  task_state = assembled(state["task"], {part.names: part.state for part in parts})
  terms = None
  if objective.beside is not None:
    now, seen = {"shared": shared, "task": state["task"]}, [features for one in passes for features in one.seen]
    terms = _terms(objective.beside, params, now, seen, opened.entries, keys, share)
    changed = {(name,): tree for name, tree in terms.state["task"].items()}
    shared, task_state = terms.state["shared"], assembled(task_state, changed)

  def pull_heads(weights):
    grads = {part.names: part.pull(weights[np.array([position[name] for name in part.names])]) for part in parts}
    if terms is None:
      return assembled(params["task"], grads)
    others = {name for name in params["task"] if name not in position}
    grads |= {(name,): jax.tree.map(jnp.zeros_like, params["task"][name]) for name in others}
    return jax.tree.map(jnp.add, assembled(params["task"], grads), terms.at_heads)

  pullbacks = [_pullback(one, tuple(position[name] for name in one.names)) for one in passes]
  if terms is not None and share > 0.0:
    straight = [terms.at_shared, *[None] * (len(pullbacks) - 1)]  # once
    at_features = iter(terms.at_features)
    each = [one.gathered([next(at_features) for _ in range(one.branches)]) for one in passes]
    pullbacks = [_with_terms(*both) for both in zip(pullbacks, each, straight, strict=True)]
  losses, order = jnp.concatenate([part.losses for part in parts]), np.argsort([position[name] for name in names])
  return Linearized(
    objective.names,
    losses if in_place(order) else losses[order],
    {"state": {"shared": shared, "task": task_state}},
    params["shared"],
    tuple(pullbacks),
    pull_heads,
    at_features=True,
    terms={} if terms is None else terms.values,
  )


class _Pass(NamedTuple):
  """A forward pass, or several as one batch.

  Attributes:
    heads: Those on its features.
    pull: The way from the features to the shared parameters.
    shared: The shared state after it.
    features: Those that have gradients, and the others; of several passes along a leading axis.
    own: As in `Pullback`.
  """

  heads: list[Heads]
  pull: Callable[[Any], Any]
  shared: Any
  features: tuple[Any, Any]
  own: Own | None = None

  @property
  def names(self) -> list[str]:
    """Its tasks."""
    return [name for part in self.heads for name in part.names]

  @property
  def branches(self) -> int:
    """How many it is of; several have a head each."""
    return 1 if self.own is None else len(self.names)

  @property
  def seen(self) -> list[tuple[Any, Any]]:
    """The features of each of its branches."""
    return [self.features] if self.own is None else [entry(self.features, i) for i in range(self.branches)]

  def gathered(self, at_features: Sequence[Any]) -> Any:
    """Gradients at the features of each of its branches, as `pull` takes them."""
    return at_features[0] if self.own is None else stack(at_features)


def _one_pass(several: Branches, params, state, batch: Opened, keys) -> _Pass:
  """The forward pass of one branch."""
  (branch,) = several.branches
  x = branch.read(batch.entries)

  def trunk(p):
    features, after = branch.trunk(p, state["shared"], x, keys["shared"])
    features, others = divided(features)  # masks and indices go on to the heads as they are
    return features, (others, after)

  features, vjp, (others, shared) = jax.vjp(trunk, params["shared"], has_aux=True)
  alike, rest = alike_heads(branch, params, state, joined(features, others), batch, keys)
  heads = [heads_together(a, features, others, _keys(keys, a.names), of_each=False) for a in alike]
  for name, head in rest.items():
    own = (params["task"][name], state["task"][name])
    heads.append(head_alone(name, head, *own, features, others, batch, keys["task"][name]))
  return _Pass(heads, lambda c: vjp(c)[0], shared, (features, others))


def _passes_alike(several: Branches, params, state, batch: Opened, keys) -> _Pass:
  """The forward passes of branches that are alike, as one batch."""
  branch = several.branches[0]
  assert several.heads is not None

  def trunk(p, x):
    return divided(branch.trunk(p, state["shared"], x, keys["shared"])[0])

  def trunks(p):
    return jax.vmap(trunk, in_axes=(None, 0))(p, several.inputs)

  features, vjp, others = jax.vjp(trunks, params["shared"], has_aux=True)
  names = several.heads.names
  heads = heads_together(several.heads, features, others, _keys(keys, names), of_each=True)
  own = _way_back(trunk, params["shared"], several.inputs)
  return _Pass([heads], lambda c: vjp(c)[0], state["shared"], (features, others), own)


def _way_back(trunk, shared, inputs) -> Own:
  """One pass's way from its features to the shared parameters, and what all passes leave for it."""
  structure = None

  def left_by(x):
    nonlocal structure
    residuals, structure = jax.tree.flatten(jax.vjp(lambda p: trunk(p, x), shared, has_aux=True)[1])
    return residuals

  one = jax.tree.map(lambda leaf: leaf[0], inputs)
  axes = [0 if depends else None for depends in reached(jax.make_jaxpr(left_by)(one).jaxpr)]
  residuals = jax.vmap(left_by, out_axes=axes)(inputs)
  return Own(lambda left, cotangent: jax.tree.unflatten(structure, left)(cotangent)[0], residuals, axes)


def _keys(keys, names: tuple[str, ...]) -> Any:
  """The keys of some heads along a leading axis; None: there are none."""
  each = [keys["task"][name] for name in names]
  return None if each[0] is None else jnp.stack(each)


def _pullback(one: _Pass, tasks: tuple[int, ...]) -> Pullback:
  cotangents = Cotangents([part.cotangents for part in one.heads])

  def weighted(weights):
    return added(cotangents.weighted(devices.varying(weights)[np.array(tasks)]))

  return Pullback(tasks, cotangents, weighted, one.pull, own=one.own)


class _Terms(NamedTuple):
  """The gradients of an objective's terms: at the shared parameters, at the heads, at the features of each branch."""

  at_shared: Any
  at_heads: dict[str, Any]
  at_features: list[Any]
  values: dict[str, jax.Array]
  state: Any


def _terms(beside, params, state, seen: list[tuple[Any, Any]], batch, keys, share: float) -> _Terms:
  def of_terms(shared, task, features):
    everything = [joined(own, others) for own, (_, others) in zip(features, seen, strict=True)]
    value, aux = beside({"shared": shared, "task": task}, state, everything, batch, keys)
    return share * value, aux

  features = [own for own, _ in seen]
  value, vjp, aux = jax.vjp(of_terms, params["shared"], params["task"], features, has_aux=True)
  values = {name: amount.value for name, amount in aux["terms"].items()}
  at_shared, at_heads, at_features = vjp(devices.varying(jnp.ones((), value.dtype)))
  return _Terms(at_shared, at_heads, at_features, values, aux["state"])


def _with_terms(pullback: Pullback, at_features: Any, at_shared: Any = None) -> Pullback:
  """The pullback with the gradient of the terms, through its features and, where given, straight at the parameters."""

  def pull(cotangent):
    grads = pullback.pull(cotangent)
    return grads if at_shared is None else jax.tree.map(jnp.add, grads, at_shared)

  return pullback._replace(
    pull_all=lambda c: pull(jax.tree.map(jnp.add, c, at_features)), pull_terms=lambda: pull(at_features)
  )
