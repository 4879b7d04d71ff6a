"""Loss weights first, then gradient balancing of the weighted losses."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, Stats


class ChainState(NamedTuple):
  """The states of both, and the last weights that the first gave the losses, (T,)."""

  weighter: Any
  balancer: Any
  factors: jax.Array


def chain(weighter: Balancer, balancer: Balancer) -> Balancer:
  r"""`balancer` on losses weighted by `weighter`: rows $v_i g_i$, losses $v_i l_i$.

  $$ update = J^T (v \odot w), \qquad w = w\big(diag(v)\, G\, diag(v)\big) $$

  Heads get what `weighter` gives them, the gradient of their own weighted loss.

  Args:
    weighter: A loss weighter.
    balancer: Any method.

  Returns:
    The balancer; it needs what `balancer` needs, and reports what both report.

  Raises:
    UserError: `weighter` reads more than the losses.

  >>> import mtl_jax as mtl
  >>> both = chain(mtl.balance.constant([1.0, 2.0]), mtl.balance.mgda())
  >>> weights, _ = both.weigh(Stats(jnp.ones(2), jnp.eye(2)), both.init(2))
  >>> weights.round(3).tolist()  # of rows g_1 and 2 g_2 the shortest combination is 4/5 and 1/5
  [0.8, 0.4]

  References:
    Kurin et al., *In Defense of the Unitary Scalarization for Deep Multi-Task Learning*, NeurIPS 2022, and LibMTL run
    such pairs.
  """
  if not weighter.needs <= {"losses"}:
    raise UserError(f"chain: the first balancer needs {', '.join(sorted(weighter.needs))}, expected a loss weighter.")

  def init(num_tasks, shared=None):
    return ChainState(weighter.init(num_tasks), balancer.init(num_tasks, shared), jnp.ones(num_tasks, jnp.float32))

  def first(stats, state):
    factors, weighter_state = weighter.weigh(Stats(stats.losses, present=stats.present), state.weighter)
    return stats.scaled(factors), factors, weighter_state

  def kept(stats, factors, state):
    return jnp.where(stats.filled().present, factors, state.factors)

  def weigh(stats, state):
    scaled, factors, weighter_state = first(stats, state)
    weights, balancer_state = balancer.weigh(scaled, state.balancer)
    return weights * factors, ChainState(weighter_state, balancer_state, kept(stats, factors, state))

  def combine(stats, state):
    assert balancer.combine is not None
    scaled, factors, weighter_state = first(stats, state)
    update, weights, balancer_state = balancer.combine(scaled, state.balancer)
    return update, weights * factors, ChainState(weighter_state, balancer_state, kept(stats, factors, state))

  def head_weights(weights, state):
    own = weights / jnp.where(state.factors != 0, state.factors, 1.0)
    return weighter.head_weights(state.factors, state.weighter) * balancer.head_weights(own, state.balancer)

  def observe(before, after, state):
    weighter_state, balancer_state = state.weighter, state.balancer
    if weighter.observe is not None:
      weighter_state = weighter.observe(before, after, weighter_state)
    if balancer.observe is not None:
      balancer_state = balancer.observe(before.scaled(state.factors), after.scaled(state.factors), balancer_state)
    return state._replace(weighter=weighter_state, balancer=balancer_state)

  return balancer._replace(
    init=init,
    weigh=weigh,
    needs=weighter.needs | balancer.needs,
    head_weights=head_weights,
    report=lambda state: weighter.report(state.weighter) | balancer.report(state.balancer),
    combine=None if balancer.combine is None else combine,
    observe=None if weighter.observe is None and balancer.observe is None else observe,
    losses_above=np.maximum(weighter.losses_above, balancer.losses_above),
    scale="own",
  )
