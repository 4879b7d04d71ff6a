"""Rules applied: the sharding of every array of a train state, and of batches."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import optax
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mtl_jax._core.devices import DATA
from mtl_jax._core.errors import UserError, nearest, some
from mtl_jax._core.frozen import Frozen, split_frozen
from mtl_jax._core.paths import by_path
from mtl_jax.shard._rules import AnyRules, Rule, rules_of


def state_shardings(
  state: Any, tx: optax.GradientTransformation, mesh: Mesh | AbstractMesh, rules: AnyRules, frozen: Frozen = ()
) -> Any:
  """The sharding of every array of a train state, for `jax.device_put` and `jax.jit`.

  Parameters are placed by the rules, the optimizer's arrays by those of their parameter (where they have its shape).
  All else is replicated: the net's state, counters, and what balancer and engine remember, even where a balancer keeps
  an array as large as the parameters (`moco`).

  Args:
    state: A `TrainState`, its arrays or their shapes (`jax.eval_shape`).
    tx: The optimizer.
    mesh: The mesh.
    rules: `"replicated"`, `"fsdp"`, `"zero"`, `"tensor_parallel"`, `"expert_parallel"`, `"row_wise"`, a `Rules`, or
      pairs as in `Rules.params`; None: replicated.
    frozen: As in `mtl.make_train_step`.

  Returns:
    A `TrainState` of `jax.sharding.NamedSharding`s.

  Raises:
    UserError: A regular expression that matches no parameter, an axis that the mesh lacks or that does not divide the
      dimension, or rules that divide nothing.

  >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {"size": mtl.from_linen(nn.Dense(1))})
  >>> tasks, batch = {"size": mtl.tasks.regression("size")}, {"x": jnp.ones((2, 3)), "size": jnp.zeros(2)}
  >>> tx, mesh = optax.adam(0.1), mtl.make_mesh("data=1", jax.devices()[:1])
  >>> state = mtl.init_train_state(net, tasks, mtl.balance.equal(), tx, batch, jax.random.key(0))
  >>> found = state_shardings(state, tx, mesh, [("shared/.*kernel", P("data"))])
  >>> found.opt_state[0].mu["shared"]["kernel"].spec, found.step.spec
  (P('data',), P())
  """
  rules = rules_of(rules)
  params = specs_of(state.params, mesh, rules.params)
  moments = params if rules.optimizer is None else specs_of(state.params, mesh, rules.optimizer)
  if (rules.params or rules.optimizer) and not any(map(any, [*params.values(), *moments.values()])):
    raise UserError(
      f"these rules divide no parameter on the mesh {_show(mesh)}: write rules for the paths that there are "
      f"({some(params)}), or take 'replicated'."
    )
  everywhere = NamedSharding(mesh, P())
  placed, placed_moments = (
    jax.tree.unflatten(jax.tree.structure(state.params), [NamedSharding(mesh, spec) for spec in specs.values()])
    for specs in (params, moments)
  )

  def like_parameter(leaf, sharding, param):
    if isinstance(leaf, optax.MaskedNode):
      return leaf
    return sharding if leaf.shape == param.shape else everywhere

  opt_state = optax.tree.map_params(
    tx,
    like_parameter,
    state.opt_state,
    split_frozen(placed_moments, frozen)[0],
    split_frozen(state.params, frozen)[0],
    transform_non_params=lambda leaf: everywhere,
    is_leaf=lambda leaf: isinstance(leaf, optax.MaskedNode),
  )
  rest = jax.tree.map(lambda leaf: everywhere, state._replace(params=None, opt_state=None))
  return rest._replace(params=placed, opt_state=opt_state)


def batch_sharding(mesh: Mesh | AbstractMesh) -> NamedSharding:
  """Batches lie on a mesh divided by examples over its axis `data`.

  Args:
    mesh: The mesh.

  Returns:
    The sharding of every array of a batch.

  Raises:
    UserError: The mesh has no such axis.
  """
  if DATA not in mesh.shape:
    raise UserError(f"the mesh has the axes {', '.join(map(str, mesh.axis_names))}, expected one named {DATA!r}.")
  return NamedSharding(mesh, P(DATA))


def specs_of(params: Any, mesh: Mesh | AbstractMesh, rules: Sequence[Rule]) -> dict[str, P]:
  """The placement of each parameter by its path."""
  leaves = by_path(params)
  found = dict.fromkeys(leaves, P())
  free = set(leaves)
  for pattern, place in rules:
    try:
      matched = [path for path in leaves if re.search(pattern, path)]
    except re.error as error:
      raise UserError(f"rule {pattern!r} is no regular expression: {error}.") from error
    if not matched:
      near = difflib.get_close_matches(pattern, list(leaves), n=3, cutoff=0.3) or list(leaves)
      raise UserError(f"rule {pattern!r} matches no parameter: there are {some(near)}.")
    for path in filter(free.__contains__, matched):
      spec = place if isinstance(place, P) else place(path, leaves[path].shape, mesh.shape)
      _check(pattern, path, leaves[path].shape, spec, mesh)
      found[path] = spec
    free.difference_update(matched)
  return found


def _check(pattern: str, path: str, shape: tuple[int, ...], spec: P, mesh: Mesh | AbstractMesh) -> None:
  if len(spec) > len(shape):
    raise UserError(f"rule {pattern!r}: {spec} has {len(spec)} entries, but {path!r} has the shape {shape}.")
  for dimension, entry in enumerate(spec):
    axes = entry if isinstance(entry, tuple) else () if entry is None else (entry,)
    for axis in axes:
      if axis not in mesh.shape:
        near = nearest(str(axis), list(mesh.shape))
        raise UserError(f"rule {pattern!r}: the mesh {_show(mesh)} has no axis {axis!r}{near} for {path!r}.")
    count = math.prod(mesh.shape[axis] for axis in axes)
    if shape[dimension] % count:
      raise UserError(
        f"rule {pattern!r}: dimension {dimension} of {path!r}, shape {shape}, is {shape[dimension]}, which "
        f"{' x '.join(f'{axis} {mesh.shape[axis]}' for axis in axes)} does not divide."
      )


def _show(mesh: Mesh | AbstractMesh) -> str:
  return ",".join(f"{axis}={size}" for axis, size in mesh.shape.items())
