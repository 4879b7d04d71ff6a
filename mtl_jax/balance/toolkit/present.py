"""Tasks that are absent from a step, those without labels in its batch: sums, draws and memories of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mtl_jax._core.axes import behind

Tree = TypeVar("Tree")


def keep_absent(present: Bool[Array, " T"], new: Tree, old: Tree) -> Tree:
  """`new` where the task is present and `old` where it is not: trees whose leaves are (T, ...).

  >>> keep_absent(jnp.array([True, False]), jnp.array([1.0, 2.0]), jnp.array([5.0, 6.0])).tolist()
  [1.0, 6.0]
  """
  return jax.tree.map(lambda n, o: jnp.where(behind(present, n.ndim), n, o), new, old)


def mean(values: Float[Array, " T"], present: Bool[Array, " T"]) -> Float[Array, ""]:
  """The mean over the tasks present."""
  count = jnp.maximum(jnp.sum(present), 1).astype(values.dtype)
  return jnp.sum(jnp.where(present, values, 0.0)) / count


def on_simplex(
  weights: Float[Array, " T"], present: Bool[Array, " T"], step: Callable[[jax.Array], jax.Array]
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
  """A step of weights that sum to 1 over all tasks, taken by the tasks present alone.

  Args:
    weights: The weights before, on the simplex of all tasks.
    present: Which tasks take the step.
    step: From weights on the simplex of the tasks present, 0 for the others, to the next.

  Returns:
    The weights after, on the simplex of the tasks present, and what to remember: the same times what these tasks had
    together before, and the old weights of the others.
  """
  among = jnp.where(present, weights, 0.0)
  together = jnp.sum(among)
  count = jnp.maximum(jnp.sum(present), 1).astype(weights.dtype)
  even = jnp.where(present, 1.0 / count, 0.0)
  after = jnp.where(present, step(jnp.where(together > 0, among / jnp.where(together > 0, together, 1.0), even)), 0.0)
  return after, jnp.where(present, together * after, weights)


def far_off(gram: Float[Array, "T T"], present: Bool[Array, " T"]) -> Float[Array, "T T"]:
  """G with the gradients of absent tasks at right angles to all others and 10,000 times as long as the longest.

  So they have no part in short combinations: a weight of at most 1e-8 on the simplex.
  """
  longest = jnp.max(jnp.where(present, jnp.diagonal(gram), 0.0))
  square = jnp.minimum(jnp.where(longest > 0, 1e8 * longest, 1.0), jnp.finfo(gram.dtype).max / 8)
  away = jnp.where(jnp.eye(gram.shape[0], dtype=bool), square, 0.0)
  return jnp.where(present[:, None] & present[None, :], gram, away)


def of_present(drawn: Array, present: Bool[Array, " T"]) -> Array:
  """Random numbers dealt out to the tasks present in their order, the first to the first: (T, ...) to (T, ...).

  So a step draws for the tasks present what it would draw if there were no others.

  >>> of_present(jnp.array([10, 20, 30]), jnp.array([False, True, True])).tolist()[1:]
  [10, 20]
  """
  return drawn[jnp.maximum(jnp.cumsum(present) - 1, 0)]


def random_bits(key: jax.Array, tasks: int) -> jax.Array:
  """Random numbers for pairs of tasks, (T, T) uint32; the first t tasks have those that t tasks alone would have."""
  row, column = np.indices((tasks, tasks))
  shell = np.maximum(row, column)
  place = shell**2 + np.where(row < shell, row, shell + column)  # the pairs of more tasks come later
  return jax.random.bits(key, (tasks * tasks,))[place]
