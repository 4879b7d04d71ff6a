"""The `features` engine: the Gram matrix of gradients at the shared representation, then one weighted backward pass."""

from __future__ import annotations

import jax

from mtl_jax import _devices
from mtl_jax._errors import UserError
from mtl_jax.balance._gram import gram_of_each
from mtl_jax.engine._engine import Engine, weighing


def features() -> Engine:
  r"""Balances the gradients at the shared features Z in place of those of the parameters: the cost of one step.

  $$ G_{st} = \langle \nabla_Z l_s, \nabla_Z l_t \rangle, \qquad update = \nabla_{shared} \sum_t w_t(G)\, l_t $$

  One forward and one backward pass of the trunk for any number of tasks: the heads' backward passes give G on the way.
  By the chain rule $g_t = (\partial Z / \partial \theta)^T \nabla_Z l_t$, so for MGDA the norm at Z bounds that of the
  update from above, up to a constant. For other methods it is an approximation: gradients that conflict at Z may agree
  in the parameters, and the other way round.

  Returns:
    The engine. It needs a net with a cut between trunk and heads, and one input for all tasks; it looks at all examples
    as one batch, so it does not serve methods that compare parts of it.

  Raises:
    UserError: In the step: a net without a cut, tasks with inputs of their own, a method that looks at some layers.

  >>> sorted(features().serves)
  ['gram', 'losses']

  References:
    Sener, Koltun, *Multi-Task Learning as Multi-Objective Optimization*, NeurIPS 2018 (MGDA-UB).
  """

  def gram(linearized, balancer):
    if not linearized.at_features:
      raise UserError("engine 'features': this net or objective has no cut between trunk and heads: use gram().")
    if len(linearized.pullbacks) > 1:
      raise UserError("engine 'features': tasks with inputs of their own share no features: use stacked() or gram().")
    if balancer.layers is not None:
      raise UserError(
        "engine 'features': this balancer looks at the gradients of some layers: use stacked() or gram()."
      )
    (pullback,) = linearized.pullbacks
    each = pullback.cotangents

    def weighted(weights):
      return jax.tree.map(
        lambda *leaves: sum(w.astype(x.dtype) * x for w, x in zip(weights, leaves, strict=True)), *each
      )

    return _devices.total(gram_of_each(each)), linearized._replace(pullbacks=(pullback._replace(weighted=weighted),))

  return weighing("features", frozenset({"losses", "gram"}), gram)
