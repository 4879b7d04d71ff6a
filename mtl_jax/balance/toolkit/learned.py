"""Quantities that a balancer learns beside the network, by an optimizer of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.errors import UserError
from mtl_jax.balance.toolkit.present import keep_absent


class Learned(NamedTuple):
  """The learned vector, (T,), and the state of its optimizer for each entry, leaves (T, ...)."""

  value: jax.Array
  optimizer: Any


def start(tx: optax.GradientTransformation, num_tasks: int, value: float = 0.0) -> Learned:
  """All entries at `value`."""
  initial = jnp.full(num_tasks, value, jnp.float32)
  return Learned(initial, jax.vmap(tx.init)(initial))


def descend(
  tx: optax.GradientTransformation, gradient: jax.Array, learned: Learned, present: jax.Array | None = None
) -> Learned:
  """One step of the optimizer, of each entry by itself; entries of tasks that are not `present` stay as they are."""
  with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
    updates, optimizer = jax.vmap(tx.update)(gradient, learned.optimizer, learned.value)
  new = Learned(learned.value + jnp.asarray(updates), optimizer)
  return new if present is None else keep_absent(present, new, learned)


def check_learning_rate(method: str, learning_rate: float) -> None:
  """Raises a `UserError` where it is not positive."""
  if learning_rate <= 0:
    raise UserError(f"{method}: learning_rate is {learning_rate}, expected above 0.")
