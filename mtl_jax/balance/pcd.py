"""Priority-constrained descent: the main task's gradient, bent just enough to serve the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, gram_balancer
from mtl_jax.balance.solvers.interior import Iterate, interior_point
from mtl_jax.balance.solvers.solution import full_precision, norms, scaled
from mtl_jax.balance.toolkit.main import check_main
from mtl_jax.balance.toolkit.present import keep_absent

_RIDGE = 1e-6  # of unit directions: bounds the multipliers where constraints exclude each other
_MISSED = 0.1  # a constraint missed by this share of its bound tells that they do


class PcdState(NamedTuple):
  """Steps with labels, averages of squared lengths, (T,) each, and whether the last constraints could be met."""

  steps: jax.Array
  squares: jax.Array
  feasible: jax.Array


def pcd(tau: float | Sequence[float] = 0.02, main: int = 0, beta: float = 0.999) -> Balancer:
  r"""The direction nearest to the main task's gradient in which all other tasks progress, as long as that gradient.

  $$ d = \arg\min_d \tfrac12 |d - g_{main}|^2 \quad \text{s.t.} \quad g_i \cdot d \ge \tau |g_i|^2, \; i \ne main,
  \qquad update = |g_{main}| \, d / |d| $$

  with the gradients in the problem divided by the roots of moving averages of their squared lengths. The dual is a
  quadratic program in the multipliers, $d = g_{main} + \sum_i \mu_i g_i$ with $\mu \ge 0$. Where no direction meets all
  constraints they are dropped for the step; without a main gradient the update is 0.

  With $\tau > 0$ no trade-off is stationary: where the main gradient opposes another, the other progresses at its cost,
  until that gradient vanishes.

  Args:
    tau: $\tau$, from 0 to 1, one number or (T,), of which the main task's is not read: the least progress of a task,
      as a share of that along its own gradient.
    main: The position of the main task in the order of the tasks.
    beta: From 0 to below 1, the memory of the moving averages.

  Returns:
    The balancer. It reports `feasible`, 0 where the constraints were dropped.

  Raises:
    UserError: An option is out of range; at initialisation, fewer than `main + 1` tasks, or another number of `tau`.

  >>> from mtl_jax.balance import Stats
  >>> gradients, balancer = jnp.array([[1.0, 0.0], [-1.0, 1.0]]), pcd(tau=0.0)
  >>> weights, _ = balancer.weigh(Stats(jnp.ones(2), gradients @ gradients.T), balancer.init(2))
  >>> (weights @ gradients).round(3).tolist()  # g_main without its conflict, (1, 1) / 2, as long as g_main
  [0.707, 0.707]

  References:
    Varam, AlHajri, *Not All Objectives Are Born Equal: Priority-Constrained Descent for Hierarchical Multi-Objective
    Optimization*, TMLR 2026. Deviations: an interior-point method in place of the enumeration of all sets of active
    constraints; no $10^{-8}$ is added to the moving averages; constraints count as excluding each other where the
    best direction would miss a tenth of one.
  """
  given = np.asarray(tau, np.float32)
  if given.ndim > 1 or not np.all((given >= 0) & (given <= 1)) or not 0 <= beta < 1:
    raise UserError(f"pcd: tau is {tau} and beta {beta}, expected tau from 0 to 1 and beta from 0 to below 1.")

  def init(num_tasks):
    check_main("pcd", main, num_tasks)
    if given.ndim == 1 and len(given) != num_tasks:
      raise UserError(f"pcd: tau has {len(given)} entries, expected {num_tasks}, one per task.")
    steps = jnp.zeros(num_tasks, jnp.int32)
    return PcdState(steps, jnp.zeros(num_tasks, jnp.float32), jnp.ones((), jnp.float32))

  @full_precision
  def weigh(stats, state):
    gram, lengths = stats.gram, norms(stats.gram)
    squares = beta * state.squares + (1.0 - beta) * jnp.square(lengths).astype(state.squares.dtype)
    steps, squares = keep_absent(stats.present, (state.steps + 1, squares), (state.steps, state.squares))
    taken = jnp.maximum(steps, 1).astype(squares.dtype)
    typical = jnp.sqrt(squares / (1.0 - beta**taken)).astype(gram.dtype)
    counts = (lengths > 0) & (typical > 0)
    relative = jnp.where(counts, lengths / jnp.where(counts, typical, 1.0), 1.0)
    wanted = jnp.asarray(given, gram.dtype) * (relative / relative[main])
    directions, feasible = bend(gram, jnp.broadcast_to(wanted, lengths.shape), main)
    has_main = lengths[main] > 0
    longer = jnp.where(lengths > 0, lengths[main] / jnp.where(lengths > 0, lengths, 1.0), 0.0)
    weights = jnp.where(has_main, directions * jnp.minimum(longer, jnp.finfo(gram.dtype).max / 1e6), 0.0)
    return weights, PcdState(steps, squares, feasible.astype(jnp.float32))

  return gram_balancer(init, weigh, report=lambda state: {"feasible": state.feasible}, scale="other")


def bend(gram: jax.Array, wanted: jax.Array, main: int) -> tuple[jax.Array, jax.Array]:
  r"""The nearest direction to $u_{main}$ with $u_i \cdot d \ge$ `wanted_i` for the others, u the unit gradients.

  Returns:
    The coefficients of the unit gradients that make the direction's unit vector, (T,), and whether there is one.
  """
  lengths = norms(gram)
  tasks = jnp.arange(gram.shape[0])
  others = (lengths > 0) & (tasks != main)
  cosines = jnp.clip(scaled(gram, jnp.where(lengths > 0, lengths, 1.0)), -1.0, 1.0)
  among = jnp.where(others[:, None] & others[None, :] & (tasks[:, None] != tasks[None, :]), cosines, 0.0)
  among = among + jnp.eye(gram.shape[0], dtype=gram.dtype)
  missing = jnp.where(others, wanted - cosines[main], 0.0)
  size = jnp.maximum(1.0, jnp.max(missing))  # large where the main gradient is much shorter than it was
  linear = -missing / size
  ones = jnp.ones_like(linear)
  ridged = among + _RIDGE * jnp.eye(gram.shape[0], dtype=gram.dtype)
  start = Iterate(ones, jnp.zeros((), gram.dtype), jnp.maximum(ridged @ ones + linear, 1.0))
  found = interior_point(ridged, linear, start)
  multipliers = jnp.where(others & (found.x > found.z), found.x, 0.0)
  missed = -(among @ multipliers + linear)
  feasible = jnp.all(~others | (missed <= _MISSED * wanted / size + 10 * _RIDGE))
  multipliers = jnp.where(feasible, multipliers, 0.0)
  x = multipliers.at[main].set(jnp.where(feasible, 1.0 / size, 1.0))
  full = jnp.where(tasks == main, cosines[main][:, None], among)
  full = full.at[main].set(cosines[main]).at[main, main].set(1.0)
  square = jnp.sum(x * (full @ x))
  vanishes = square <= 1e-6 * jnp.square(jnp.sum(jnp.abs(x)))
  return jnp.where(vanishes, 0.0, x / jnp.sqrt(jnp.where(vanishes, 1.0, square))), feasible
