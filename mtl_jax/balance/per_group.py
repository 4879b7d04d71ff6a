"""Each group of shared parameters balanced by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.paths import by_path, matching
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.named import as_balancer
from mtl_jax.balance.serving import combine as combine_rows


class PerGroupState(NamedTuple):
  """The balancer's state of each group, and the last weights of each, (groups, T)."""

  balancer: tuple[Any, ...]
  weights: jax.Array


def per_group(balancer: Balancer | str, groups: Sequence[str]) -> Balancer:
  r"""`balancer` for each group of shared parameters, with a Gram matrix, weights and a state of its own.

  $$ update_k = J_k^T w(G_k), \qquad G_k = J_k J_k^T $$

  Stages of a trunk differ in how much tasks conflict there: early ones agree, late ones do not.

  Args:
    balancer: Any method, or its name.
    groups: A regular expression a group; a parameter belongs to the first that its path matches, those that match none
      form a last group.

  Returns:
    The balancer; the weights of the step's metrics are the groups' mean. It reports each group's weights,
    `group_weights`, (groups, T), and needs the task gradients themselves (the `stacked` engine).

  Raises:
    UserError: No groups, or a method that needs more than gradients and losses; at initialisation, a group without
      parameters.

  >>> import mtl_jax as mtl
  >>> from mtl_jax.balance import Stats
  >>> balancer = per_group(mtl.balance.mgda(), ["early"])
  >>> rows = {"early": jnp.array([[1.0], [1.0]]), "late": jnp.array([[1.0], [-3.0]])}
  >>> state = balancer.init(2, {"early": jnp.zeros(1), "late": jnp.zeros(1)})
  >>> update, _, _ = balancer.combine(Stats(jnp.ones(2), rows=rows), state)
  >>> {name: leaf.round(3).tolist() for name, leaf in update.items()}
  {'early': [1.0], 'late': [0.0]}

  References:
    Wang, Tsvetkov, Firat, Cao, *Gradient Vaccine*, ICLR 2021, compare groupings of the parameters.
  """
  balancer = as_balancer(balancer, "per_group: balancer")
  if not groups:
    raise UserError("per_group needs at least one group, found none: pass a regular expression a group.")
  if not balancer.needs <= {"losses", "gram", "rows"}:
    raise UserError("per_group: this balancer needs more than the task gradients of one batch and their losses.")

  def grouped(tree) -> list[dict[str, Any]]:
    rest, found = by_path(tree), []
    for pattern in groups:
      found.append(matching(rest, pattern))
      rest = {path: leaf for path, leaf in rest.items() if path not in found[-1]}
    return [*found, rest] if rest else found

  def init(num_tasks, shared=None):
    if shared is None:
      raise UserError("per_group: init needs the shared parameters, init(num_tasks, shared).")
    parts = grouped(shared)
    return PerGroupState(
      tuple(balancer.init(num_tasks, part) for part in parts), jnp.ones((len(parts), num_tasks), jnp.float32)
    )

  def combine(stats, state):
    parts = grouped(stats.rows)
    present = None if stats.present is None else stats.present[None]
    found = [
      combine_rows(balancer, part, stats.losses, own, present=present)
      for part, own in zip(parts, state.balancer, strict=True)
    ]
    updates, weights, states = zip(*found, strict=True)
    by_name = {path: leaf for update in updates for path, leaf in update.items()}
    update = jax.tree.unflatten(jax.tree.structure(stats.rows), [by_name[path] for path in by_path(stats.rows)])
    weights = jnp.stack(weights)
    kept = jnp.where(stats.filled().present[None, :], weights, state.weights)
    return update, jnp.mean(weights, axis=0), PerGroupState(states, kept)

  def weigh(stats, state):
    _, weights, state = combine(stats, state)
    return weights, state

  return balancer._replace(
    init=init,
    weigh=weigh,
    needs=(balancer.needs & {"losses"}) | {"rows"},
    head_weights=lambda weights, state: balancer.head_weights(weights, state.balancer[0]),
    report=lambda state: {"group_weights": state.weights},
    combine=combine,
    by_name=lambda names: per_group(balancer.for_tasks(names), groups),
  )
