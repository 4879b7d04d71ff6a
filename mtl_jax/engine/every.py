"""The `every` engine: weights found anew each k steps and used in between."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.engine._engine import Engine
from mtl_jax.engine.named import as_engine


class EveryState(NamedTuple):
  """Steps taken, the weights in use, (T,), and the inner engine's state."""

  step: jax.Array
  weights: jax.Array
  engine: Any


def every(k: int = 10, engine: Engine | str | None = None) -> Engine:
  r"""Runs `engine` each k-th step, from the first; in between its weights are used again, in one backward pass.

  $$ cost = 1\, forward + 1\, backward + \tfrac1k\, (engine's\ surplus) $$

  The balancer's state changes at those steps only. A skipped step (a loss that was not finite) does not count. A task
  without labels at such a step keeps the weight that it had, at first 1.

  Args:
    k: Steps between, at least 1.
    engine: The engine to run, or its name; None: `stacked()`.

  Returns:
    The engine. It serves what the inner one serves but for `rows`: between the steps there are only weights.

  Raises:
    UserError: `k` is out of range.

  >>> every(10).name
  'every(10, stacked)'

  References:
    Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya, *Multi-Task Learning as a Bargaining Game*, ICML 2022,
    section 5.4, refresh the weights of Nash-MTL every 5 to 100 steps.
  """
  if k < 1:
    raise UserError(f"every: k is {k}, expected at least 1.")
  inner = as_engine("stacked" if engine is None else engine, "every: engine")

  def init(num_tasks):
    return EveryState(jnp.zeros((), jnp.int32), jnp.ones(num_tasks, jnp.float32), inner.init(num_tasks))

  def run(linearized, balancer, balancer_state, state):
    here = linearized.here

    def anew():
      grads, weights, after, engine_state = inner.run(linearized, balancer, balancer_state, state.engine)
      return grads, jnp.where(here, weights.astype(jnp.float32), state.weights), after, engine_state

    def again():
      return linearized.pull(state.weights), state.weights, balancer_state, state.engine

    grads, weights, balancer_state, engine_state = jax.lax.cond(state.step % k == 0, anew, again)
    return grads, jnp.where(here, weights, 0.0), balancer_state, EveryState(state.step + 1, weights, engine_state)

  return Engine(f"every({k}, {inner.name})", inner.serves - {"rows"}, init, run, inner.per_device)
