"""The `features` engine: the Gram matrix of gradients at the shared representation, then one weighted backward pass."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.errors import UserError
from mtl_jax._core.gram import gram_of_each
from mtl_jax._jaxpr.flow import Kind, depends, flow, traced
from mtl_jax.engine._engine import Engine, weighing
from mtl_jax.engine.linearized import Pullback


def features() -> Engine:
  r"""Balances the gradients at the shared features Z in place of those of the parameters: the cost of one step.

  $$ G_{st} = \langle \nabla_Z l_s, \nabla_Z l_t \rangle, \qquad update = \nabla_{shared} \sum_t w_t(G)\, l_t $$

  One forward and one backward pass of the trunk for any number of tasks: the heads' backward passes give G on the way.
  By the chain rule $g_t = (\partial Z / \partial \theta)^T \nabla_Z l_t$, so for MGDA the norm at Z bounds that of the
  update from above, up to a constant. For other methods it is an approximation: gradients that conflict at Z may agree
  in the parameters, and the other way round.

  Z are all leaves of the features through which gradients reach the shared parameters, those that only one task reads
  too. An input that the trunk hands on, masks and indices do not count.

  Returns:
    The engine. It needs a net with a cut between trunk and heads, and one input for all tasks; it looks at all examples
    as one batch, so it does not serve methods that compare parts of it.

  Raises:
    UserError: In the step: a net without a cut, tasks with inputs of their own, a method that looks at some layers, two
      tasks that read no leaf of Z in common, as features `{task: ...}`: their gradients at Z would be orthogonal
      whatever those of the parameters are.

  >>> sorted(features().serves)
  ['gram', 'losses']

  References:
    Sener, Koltun, *Multi-Task Learning as Multi-Objective Optimization*, NeurIPS 2018 (MGDA-UB).
  """

  def gram(linearized, balancer):
    if not linearized.at_features:
      raise UserError("engine 'features': this net or objective has no cut between trunk and heads: use gram().")
    if len(linearized.pullbacks) > 1 or linearized.pullbacks[0].own is not None:
      raise UserError("engine 'features': tasks with inputs of their own share no features: use stacked() or gram().")
    if balancer.layers is not None:
      raise UserError(
        "engine 'features': this balancer looks at the gradients of some layers: use stacked() or gram()."
      )
    (pullback,) = linearized.pullbacks
    counts = _representation(pullback)
    if sum(counts) > 1:  # a single leaf is read by all tasks that read any
      _check_shared(pullback, counts, linearized.names)
    each = list(pullback.cotangents)
    at_shared = [[leaf for leaf, one in zip(jax.tree.leaves(c), counts, strict=True) if one] for c in each]

    def weighted(weights):
      return jax.tree.map(
        lambda *leaves: sum(w.astype(x.dtype) * x for w, x in zip(weights, leaves, strict=True)), *each
      )

    return devices.total(gram_of_each(at_shared)), linearized._replace(
      pullbacks=(pullback._replace(weighted=weighted),)
    )

  return weighing("features", frozenset({"losses", "gram"}), gram)


def _representation(pullback: Pullback) -> list[bool]:
  """For each leaf of the features whether a gradient at it reaches the shared parameters."""
  program = jax.make_jaxpr(pullback.pull)(pullback.cotangents.like).jaxpr
  leaves = range(len(program.invars))
  alone = [[Kind.LINEAR if i == leaf else Kind.ZERO for i in leaves] for leaf in leaves]
  counts = [any(map(depends, flow(program, kinds))) for kinds in alone]
  if not any(counts):
    raise UserError(
      "engine 'features': no gradient at the features reaches the shared parameters: use a loss weighter."
    )
  return counts


def _check_shared(pullback: Pullback, counts: list[bool], names: tuple[str, ...]) -> None:
  """Raises a `UserError` for two tasks that read no leaf of the representation in common."""
  seed, kinds = devices.varying(jnp.ones(())), {}
  for part in pullback.cotangents.parts:
    kinds |= dict.fromkeys(
      [names[task] for task in pullback.tasks[len(kinds) :][: part.count]], traced(part.again, seed)[1]
    )
  reads = {name: {i for i, one in enumerate(counts) if one and depends(found[i])} for name, found in kinds.items()}
  for a, b in itertools.combinations([name for name in names if reads[name]], 2):
    if not reads[a] & reads[b]:
      raise UserError(
        f"engine 'features': tasks {a!r} and {b!r} read no leaf of the features in common, so there is no shared "
        "representation to balance at: use gram(), factored() or stacked()."
      )
