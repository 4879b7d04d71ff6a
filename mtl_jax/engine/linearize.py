"""`linearize`, the forward pass of a step, in as many parts of the batch as a method wants, on any devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.errors import UserError
from mtl_jax._core.paths import by_path
from mtl_jax.balance.serving import shares_of
from mtl_jax.engine._leaves import divided
from mtl_jax.engine._passes import call, cut, in_order, whole
from mtl_jax.engine.linearized import Linearized, added
from mtl_jax.objective import Objective


def linearize(
  objective: Any, params: Any, state: Any, batch: Any, key: jax.Array | None, shares: tuple[float, ...] = (1.0,)
) -> Linearized:
  """Runs the forward pass of `objective` once and keeps what its backward passes need.

  Args:
    objective: An `Objective`, or any function `(params, state, batch, key) -> ({task: loss}, aux)`.
    params: `{"shared": ..., "task": {name: ...}}`.
    state: The net's state.
    batch: The batch.
    key: The step's PRNG key.
    shares: The shares of the parts that the batch is cut into, as in `Balancer`. Together their passes cost what one
      over the whole batch costs; batch statistics are those of each part.

  Returns:
    The `Linearized` objective.

  Raises:
    UserError: A parameter is no floating-point number, or the batch cannot be cut into its parts.
  """
  run = cut if isinstance(objective, Objective) and objective.branches is not None else whole
  parts = []
  _check_numbers(params)
  params = devices.varying(params)
  for share, (part, part_key) in zip(shares, _parts(batch, key, len(shares)), strict=True):
    linear = run(objective, params, state, part, part_key, share)
    present = labelled(objective, linear.names, part, lambda aux=linear.aux: aux)
    parts.append(linear._replace(present=None if present is None else present[None]))
    state = linear.aux.get("state", state)
  return _over_devices(parts[0] if len(parts) == 1 else _join(parts, shares))


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
  shares: tuple[float, ...],
  present: jax.Array | None = None,
) -> jax.Array:
  """The losses that `linearize` would find, (T,), in the order of `names`; the net's new state is dropped."""
  parts = _parts(batch, key, len(shares))
  found = [in_order(call(objective, params, state, part, part_key)[0], names) for part, part_key in parts]
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


def _join(parts: list[Linearized], shares: tuple[float, ...]) -> Linearized:
  tasks = len(parts[0].names)
  pullbacks = tuple(
    pullback._replace(
      tasks=tuple(task + i * tasks for task in pullback.tasks),
      weighted=lambda weights, i=i, whole=pullback.weighted: whole(weights[i * tasks : (i + 1) * tasks]),
    )
    for i, part in enumerate(parts)
    for pullback in part.pullbacks
  )

  rows = [part.present for part in parts if part.present is not None]
  present = jnp.concatenate(rows) if rows else None
  dealt = shares_of(shares, tasks, present)

  def pull_heads(weights):
    used = [(part, there) for part, there, share in zip(parts, dealt, shares, strict=True) if share]
    return added(part.pull_heads(weights * there.astype(weights.dtype)) for part, there in used)

  losses = _mean([part.losses for part in parts], present)
  terms = {
    name: sum(share * part.terms[name] for share, part in zip(shares, parts, strict=True)) for name in parts[0].terms
  }
  return parts[-1]._replace(
    losses=losses, pullbacks=pullbacks, pull_heads=pull_heads, shares=shares, present=present, terms=terms
  )


def _mean(losses: list[jax.Array], present: jax.Array | None) -> jax.Array:
  """The losses, (T,), over those parts of the batch that have labels of the task."""
  stacked = jnp.stack(losses)
  if present is None or len(losses) == 1:
    return jnp.mean(stacked, axis=0)
  count = jnp.sum(present, axis=0, dtype=jnp.float32)
  return jnp.sum(jnp.where(present, stacked, 0.0), axis=0) / jnp.maximum(count, 1.0)
