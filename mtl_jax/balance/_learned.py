"""Quantities that a balancer learns beside the network, by an optimizer of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax._errors import UserError


class Learned(NamedTuple):
  """The learned vector, (T,), and its optimizer's state."""

  value: jax.Array
  optimizer: Any


def start(tx: optax.GradientTransformation, num_tasks: int, value: float = 0.0) -> Learned:
  """All entries at `value`."""
  initial = jnp.full(num_tasks, value, jnp.float32)
  return Learned(initial, tx.init(initial))


def descend(tx: optax.GradientTransformation, gradient: jax.Array, learned: Learned) -> Learned:
  """One step of the optimizer."""
  with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
    updates, optimizer = tx.update(gradient, learned.optimizer, learned.value)
  return Learned(learned.value + jax.tree.leaves(updates)[0], optimizer)


def check_learning_rate(method: str, learning_rate: float) -> None:
  """Raises a `UserError` where it is not positive."""
  if learning_rate <= 0:
    raise UserError(f"{method}: learning_rate is {learning_rate}, expected above 0.")
