"""FORUM: both levels in one first-order step, the lower as a constraint on its distance from optimality."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mtl_jax._core.errors import UserError
from mtl_jax._core.gram import gram
from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import without_shared
from mtl_jax.balance.solvers.interior import Iterate, interior_point
from mtl_jax.balance.toolkit.learned import Learned, descend, start
from mtl_jax.balance.toolkit.present import far_off, on_simplex
from mtl_jax.bilevel.method import Bilevel, check_rates, descent


class ForumState(NamedTuple):
  """The logits s of the lower level's weights, (T,); the tasks' shares, a moving average, (T,); steps taken."""

  logits: Learned
  shares: jax.Array
  step: jax.Array


def forum(
  phi: float = 0.1,
  learning_rate: float = 1e-3,
  inner_learning_rate: float = 0.1,
  inner_steps: int = 1,
  decay: float = 0.75,
  optimizer: optax.GradientTransformation | None = None,
) -> Bilevel:
  r"""First-order multi-gradient: lower the validation losses, under the constraint that training is done.

  $$ \min_{s, \theta} l^{valid}(\theta) \quad s.t. \quad
  q = softmax(s) \cdot l^{train}(\theta) - softmax(s) \cdot l^{train}(\tilde\theta) \le 0 $$

  with $\tilde\theta$ a few gradient steps from $\theta$. Both move along $\sum_i \lambda_i \hat F_i + \nu \nabla q$,
  $\hat F_i$ the directions of the validation gradients,

  $$ \min_{\lambda \in \Delta, \nu \ge 0} \tfrac12 \Big|\sum_i \lambda_i \hat F_i + \nu \nabla q\Big|^2 -
  \nu \phi |\nabla q|^2, \qquad
  \nu = \max\Big(0, \sum_i \lambda_i (\phi - \hat F_i \cdot \nabla q / |\nabla q|^2)\Big) $$

  and $\lambda$ a moving average over steps.

  Args:
    phi: $\phi$, positive: how fast the constraint is met.
    learning_rate: Of Adam on s.
    inner_learning_rate: Of the steps to $\tilde\theta$.
    inner_steps: Their number, at least 1.
    decay: The k-th solution enters the average with the share $k^{-decay}$; 0: no average.
    optimizer: Any optimizer of s in place of Adam.

  Returns:
    The method, for `make_bilevel_step`; it reports `weights`, softmax(s), and `shares`, $\lambda$.

  Raises:
    UserError: An option is out of range.

  >>> forum().init(2).shares.tolist()
  [0.5, 0.5]

  References:
    Ye, Lin, Cao, Zhang, Tsang, *A First-Order Multi-Gradient Algorithm for Multi-Objective Bi-Level Optimization*, ECAI
    2024. Deviation: the quadratic program is solved on the device; the average counts steps, in place of epochs.
  """
  check_rates("forum", phi=phi, learning_rate=learning_rate, inner_learning_rate=inner_learning_rate)
  if inner_steps < 1 or decay < 0:
    raise UserError(f"forum: inner_steps is {inner_steps} and decay {decay}, expected at least 1 and at least 0.")
  tx = optax.adam(learning_rate) if optimizer is None else optimizer

  def init(num_tasks):
    return ForumState(start(tx, num_tasks), jnp.full(num_tasks, 1.0 / num_tasks, jnp.float32), jnp.zeros((), jnp.int32))

  def learn(levels, state):
    present, valid_present = levels.present, levels.valid_present
    weights, pull = jax.vjp(lambda s: jax.nn.softmax(s, where=present), state.logits.value)
    near = jax.lax.fori_loop(
      0, inner_steps, lambda _, p: descent(levels, weights, inner_learning_rate, p), levels.params
    )
    lower_now, backward = jax.vjp(levels.train, levels.params)
    of_logits = pull(lower_now - levels.train(near))[0]
    of_params = backward(weights)[0]
    upper = jax.jacrev(levels.valid)(levels.params)

    joined = jax.tree.map(lambda rows, row: jnp.concatenate([rows, row[None]]), upper, of_params)
    products = gram(joined)
    lengths = jnp.sqrt(jnp.diagonal(products)[:-1])
    lengths = jnp.where(lengths > 0, lengths, 1.0)
    units = products[:-1, :-1] / lengths[:, None] / lengths[None, :]
    across, square = products[:-1, -1] / lengths, products[-1, -1] + jnp.sum(of_logits**2)
    step = state.step + 1

    def average(before):
      found = jnp.where(valid_present, constrained_shares(far_off(units, valid_present), across, square, phi), 0.0)
      return before + step.astype(jnp.float32) ** -decay * (found - before)

    shares, kept = on_simplex(state.shares, valid_present, average)
    multiplier = jnp.maximum(0.0, jnp.sum(shares * slack(across, square, phi)))
    logits = descend(tx, multiplier * of_logits, state.logits, present)
    return multiplier * weights, shares / lengths, ForumState(logits, kept, step)

  def report(state):
    return {"weights": jax.nn.softmax(state.logits.value), "shares": state.shares}

  return Bilevel(without_shared(init), learn, report=report)


def slack(across: Float[Array, " T"], square: Float[Array, ""], phi: float) -> Float[Array, " T"]:
  r"""$\phi - \hat F_i \cdot \nabla q / |\nabla q|^2$, 0 where there is no gradient of q."""
  return jnp.where(square > 0, phi - across / jnp.where(square > 0, square, 1.0), 0.0)


def constrained_shares(
  units: Float[Array, "T T"], across: Float[Array, " T"], square: Float[Array, ""], phi: float
) -> Float[Array, " T"]:
  r"""$\lambda$ of FORUM's quadratic program.

  If the shortest combination of the $\hat F_i$ alone gives $\nu = 0$ it is the solution; if not, $\nu$ is
  positive and can be eliminated, which leaves a quadratic program over the simplex with a linear term.
  """
  tasks = units.shape[0]
  alone = solvers.simplex_qp(units).x
  some = jnp.where(square > 0, square, 1.0)
  reduced = units - across[:, None] * across[None, :] / some
  linear = phi * across
  x = jnp.full(tasks, 1.0 / tasks, units.dtype)
  slope = reduced @ x + linear
  y = jnp.min(slope) - 1.0
  scale = jnp.maximum(1.0, jnp.max(jnp.abs(linear)))
  with_constraint = interior_point(
    reduced / scale, linear / scale, Iterate(x, y / scale, (slope - y) / scale), jnp.ones_like(x)
  ).x
  binds = jnp.sum(alone * slack(across, square, phi)) > 0
  return jnp.where(binds, with_constraint / jnp.sum(with_constraint), alone)
