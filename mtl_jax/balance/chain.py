"""Loss weights first, then gradient balancing of the weighted losses."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, Stats
from mtl_jax.balance.named import as_balancer


class ChainState(NamedTuple):
  """The states of both, and the last weights that the first gave the losses, (T,)."""

  weighter: Any
  balancer: Any
  factors: jax.Array


def chain(weighter: Balancer | str, balancer: Balancer | str) -> Balancer:
  r"""`balancer` on losses weighted by `weighter`: rows $v_i g_i$, losses $v_i l_i$.

  $$ update = J^T (v \odot w), \qquad w = w\big(diag(v)\, G\, diag(v)\big) $$

  Heads get what `weighter` gives them, the gradient of their own weighted loss.

  Args:
    weighter: A loss weighter, or its name.
    balancer: Any method, or its name.

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
  weighter, balancer = as_balancer(weighter, "chain: weighter"), as_balancer(balancer, "chain: balancer")
  if not weighter.needs <= {"losses", "losses_after"}:
    raise UserError(f"chain: the first balancer needs {', '.join(sorted(weighter.needs))}, expected a loss weighter.")

  def init(num_tasks, shared=None):
    return ChainState(weighter.init(num_tasks), balancer.init(num_tasks, shared), jnp.ones(num_tasks, jnp.float32))

  def step(inner, stats, state):
    factors, weighter_state = weighter.weigh(Stats(stats.losses, present=stats.present), state.weighter)
    update, weights, balancer_state = inner(stats.scaled(factors), state.balancer)
    kept = jnp.where(stats.filled().present, factors, state.factors)
    return update, weights * factors, ChainState(weighter_state, balancer_state, kept)

  def head_weights(weights, state):
    own = weights / jnp.where(state.factors != 0, state.factors, 1.0)
    return weighter.head_weights(state.factors, state.weighter) * balancer.head_weights(own, state.balancer)

  def observe(before, after, state):
    weighter_state = weighter.observe(before, after, state.weighter)
    balancer_state = balancer.observe(before.scaled(state.factors), after.scaled(state.factors), state.balancer)
    return state._replace(weighter=weighter_state, balancer=balancer_state)

  return balancer.around(
    step,
    init=init,
    needs=weighter.needs | balancer.needs,
    head_weights=head_weights,
    report=lambda state: weighter.report(state.weighter) | balancer.report(state.balancer),
    observe=observe,
    losses_above=np.maximum(weighter.losses_above, balancer.losses_above),
    scale="other",
    by_name=lambda names: chain(weighter.for_tasks(names), balancer.for_tasks(names)),
  )
