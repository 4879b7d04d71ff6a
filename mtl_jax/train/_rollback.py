"""A learning rate that can be lowered from outside, for runs that go back after they have diverged."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtl_jax.train._state import TrainState

FACTOR = 0.5
"""What each rollback multiplies the learning rate by."""
MOST = 5
"""After so many rollbacks a run that diverges once more is given up."""


def slowable(tx: optax.GradientTransformation) -> optax.GradientTransformation:
  """The optimizer with its updates times a factor, at first 1, in its state: to any optax rule a learning rate.

  Parameters that it sets to zero, as those do that prune, are set to zero at any rate.
  """
  return optax.chain(tx, optax.inject_hyperparams(_scaled)(step_size=1.0))


def _scaled(step_size: Any) -> optax.GradientTransformation:
  def update(updates: Any, state: Any, params: Any = None) -> Any:
    def one(update: Any, param: Any) -> Any:
      return jnp.where(update == -param, update, update * jnp.asarray(step_size, update.dtype))

    return jax.tree.map(one, updates, params), state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def slowed(state: TrainState, rollbacks: int) -> TrainState:
  """The train state of a `slowable` optimizer with the factor after so many rollbacks."""
  *inner, factor = state.opt_state
  now = jnp.full_like(factor.hyperparams["step_size"], FACTOR**rollbacks)
  return state._replace(opt_state=(*inner, factor._replace(hyperparams={"step_size": now})))
