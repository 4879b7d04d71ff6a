"""The toy problem of the CAGrad and Nash-MTL papers: two variables, two objectives, valleys on the way to the front."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax.balance import Balancer
from mtl_jax.balance.serving import combine

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))
REACHED = 0.1  # from the front, in the plane of the variables: 100 steps of Adam


def objectives(x: jax.Array, scale: float = 0.1) -> jax.Array:
  r"""Both objectives, (2,), at x (2,); in the upper half-plane logarithms with a narrow valley each.

  $$ f_1 = scale (c_1 h_1 + c_2 q_1), \quad f_2 = c_1 h_2 + c_2 q_2, \qquad
  c_1 = \max(\tanh(x_2 / 2), 0), \quad c_2 = \max(\tanh(-x_2 / 2), 0) $$
  $$ h_1 = \log \max(|(-x_1 - 7) / 2 + \tanh x_2|, 5 \cdot 10^{-6}) + 6, \qquad
  h_2 = \log \max(|(-x_1 + 3) / 2 - \tanh x_2 + 2|, 5 \cdot 10^{-6}) + 6 $$
  $$ q_1 = ((x_1 - 7)^2 + (x_2 + 8)^2 / 10) / 10 - 20, \qquad q_2 = ((x_1 + 7)^2 + (x_2 + 8)^2 / 10) / 10 - 20 $$

  Args:
    x: The variables.
    scale: Of the first objective: 1 in the CAGrad paper, 0.1 in the Nash-MTL paper.

  Returns:
    The objectives.
  """
  a, b = x[0], x[1]
  upper, lower = _at_least(jnp.tanh(0.5 * b), 0.0), _at_least(jnp.tanh(-0.5 * b), 0.0)
  far = 0.1 * jnp.square(b + 8.0)
  valleys = jnp.stack([0.5 * (-a - 7.0) + jnp.tanh(b), 0.5 * (-a + 3.0) - jnp.tanh(b) + 2.0])
  logs = jnp.log(_at_least(jnp.abs(valleys), 5e-6)) + 6.0
  bowls = (jnp.stack([jnp.square(a - 7.0), jnp.square(a + 7.0)]) + far) / 10.0 - 20.0
  return (logs * upper + bowls * lower) * jnp.array([scale, 1.0])


def _at_least(x: jax.Array, least: float) -> jax.Array:
  return jnp.where(x >= least, x, least)  # where they are equal the gradient passes, as that of a clamp


@functools.cache
def front(points: int = 2001) -> np.ndarray:
  r"""Pareto-optimal x, (points, 2), from the minimum of f_2 to that of f_1: those of the weighted sums.

  The weights $s, 1 - s$ give $x_1 = 14 s - 7$, and $x_2$ minimises $\tanh(-x_2 / 2) ((x_2 + 8)^2 / 100 - b)$ with
  $b = 20 - 19.6 s (1 - s)$: a fixed point, nearer by half with each step.
  """
  share = np.linspace(0.0, 1.0, points)
  b, y = 20.0 - 19.6 * share * (1.0 - share), np.full(points, -8.4)
  for _ in range(60):
    t = np.tanh(-0.5 * y)
    y = -8.0 + 25.0 * (1.0 / t - t) * (0.01 * (y + 8.0) ** 2 - b)
  return np.stack([14.0 * share - 7.0, y], axis=1)


def distance(x: np.ndarray) -> np.ndarray:
  """From each point (..., 2) to the front in the plane of the variables."""
  return np.linalg.norm(np.asarray(x)[..., None, :] - front(), axis=-1).min(axis=-1)


def descend(
  balancer: Balancer, steps: int = 35_000, learning_rate: float = 1e-3, scale: float = 0.1, keep: int = 250
) -> np.ndarray:
  """The way of Adam along the balanced gradients from all starts, (starts, keep + 1, 2); `keep` divides `steps`."""
  if steps % keep:
    raise ValueError(f"keep is {keep}, expected a divisor of {steps} steps.")
  tx = optax.adam(learning_rate)
  slopes = jax.jacrev(lambda x: objectives(x, scale))

  def step(_, carry):
    x, memory, state = carry
    # A balancer that cuts the batch sees the same gradients in all parts: there is no noise here.
    rows = jnp.concatenate([slopes(x)] * len(balancer.shares))
    update, _, state = combine(balancer, [rows], objectives(x, scale), state)
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
      updates, memory = tx.update(update[0], memory, x)
    return x + updates, memory, state

  def stretch(carry: Any, _: None):
    carry = jax.lax.fori_loop(0, steps // keep, step, carry)
    return carry, carry[0]

  def run(x):
    start = (x, tx.init(x), balancer.init(2, [x]))
    return jnp.concatenate([x[None], jax.lax.scan(stretch, start, length=keep)[1]])

  return np.asarray(jax.jit(jax.vmap(run))(jnp.array(STARTS)))
