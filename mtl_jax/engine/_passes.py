"""One forward pass of an objective, whole or cut at the shared features, and of its terms."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.partition import joined
from mtl_jax.engine._leaves import divided
from mtl_jax.engine.linearized import Linearized, Pullback, added
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
  each = tuple(lambda seed, unit=unit: seed * unit for unit in units)

  def pull(cotangent):
    return vjp((cotangent, zero))[0]

  def pull_all(cotangent):
    return vjp((cotangent, one))[0]

  def pull_heads(weights):
    return vjp((devices.varying(weights), one if with_terms else zero))[1]

  pullback = Pullback(tuple(range(len(names))), units, each, devices.varying, pull)
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
      head_grads[name], cotangent = head_vjp(devices.varying(jnp.ones((), dtype)))
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
    straight = [terms.at_shared, *[None] * (len(pullbacks) - 1)]  # once
    pullbacks = [_with_terms(*each) for each in zip(pullbacks, terms.at_features, straight, strict=True)]
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


def _branch(tasks: tuple[int, ...], cotangents: tuple[Any, ...], each: tuple[Any, ...], pull: Any) -> Pullback:
  def weighted(weights):
    weights = devices.varying(weights)
    return added(cotangent(weights[task]) for task, cotangent in zip(tasks, each, strict=True))

  return Pullback(tasks, cotangents, each, weighted, pull)
