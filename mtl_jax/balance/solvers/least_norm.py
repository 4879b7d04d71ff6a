"""The least of a linear function plus a norm over the simplex, the problem behind CAGrad."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from mtl_jax.balance.solvers.solution import directions, epsilon, full_precision, to_boundary
from mtl_jax.balance.solvers.spectral import spectrum

_STEPS = 80
_PATIENCE = 12  # steps that together gain less than a fifth: rounding, not slow convergence
_SHORTEST = 1e-12  # lengths relative to the longest that are told apart: n^2 stays within float32
_TRIALS = (1.0, 0.5, 0.2, 0.05)  # shares of the step to the boundary that are looked at


class Directed(NamedTuple):
  """w, the coefficients a of the direction J^T a that the minimum pulls in, and the distance from optimality."""

  x: jax.Array
  direction: jax.Array
  residual: jax.Array


class _Problem(NamedTuple):
  """min q . x + c |F x| over x >= 0 with m . x = 1."""

  linear: jax.Array
  radius: float
  factor: jax.Array
  normal: jax.Array


class _Iterate(NamedTuple):
  x: jax.Array  # > 0
  y: jax.Array  # multiplier of m . x = 1
  z: jax.Array  # > 0, multipliers of x >= 0
  r: jax.Array  # the direction of F x, |r| <= 1
  gap: jax.Array


@full_precision
def simplex_norm(
  gram: Float[Array, "T T"],
  linear: Float[Array, " T"],
  radius: float,
  at_kink: Callable[[], Float[Array, " T"]] | None = None,
) -> Directed:
  r"""$\arg\min_{w \in \Delta} q^T w + c |J^T w|$, $|J^T w| = \sqrt{w^T G w}$.

  Primal-dual Newton steps with the direction $r$ of $u = J^T w$ as an unknown of its own,

  $$ q + c J r - y 1 - z = 0, \quad \tau r = u, \quad \tau^2 = |u|^2 + \delta^2, \quad w_i z_i = \mu $$

  where $\delta$ falls with $\mu$: they converge at the kink of the norm too, where $u$ vanishes. About 10 Cholesky
  factorisations in float32, 20 in float64. Lengths come from a factor of G: $\sqrt{w^T G w}$ has half its digits.

  Args:
    gram: G, (T, T), positive semidefinite up to rounding, of any scale.
    linear: q, (T,), each relative to the length of the task's gradient: $q_i / |g_i|$, of order 1.
    radius: c, at least 0.
    at_kink: Finds the coefficients a of the direction where u vanishes and $w / |u|$ is rounding; called nowhere else.

  Returns:
    w; coefficients a with $|J^T a| \le 1$, which are $w / |u|$ unless u vanishes; and the largest violation of the
    conditions $q_i + c\, g_i \cdot J^T a \ge q^T w + c |u|$, relative to $|g_i|$.

  References:
    Andersen, Christiansen, Conn, Overton, *An efficient primal-dual interior-point method for minimizing a sum of
    Euclidean norms*, 2000; Chan, Golub, Mulet, *A nonlinear primal-dual method for total variation-based image
    restoration*, 1999.
  """
  cosines, lengths = directions(gram)
  has_gradient = lengths != 0
  longest = jnp.max(lengths)
  longest = jnp.where(longest > 0, longest, 1.0)
  values, vectors, kept = spectrum(cosines)
  # In units in which the objective is of order 1, for any c. A gradient of length 0 costs more than any other w.
  unit = max(radius, 1.0)
  problem = _Problem(
    jnp.where(has_gradient, linear / unit, 2.0),
    max(radius / unit, 100 * epsilon(gram)),
    jnp.sqrt(jnp.where(kept, values, 0.0))[:, None] * vectors.T,
    1.0 / jnp.where(has_gradient, jnp.maximum(lengths / longest, _SHORTEST), 1.0),
  )
  found = _solve(problem)
  x = found.x / (problem.normal @ found.x)
  u = problem.factor @ x
  size = _size(u)
  objective = problem.linear @ x + problem.radius * size

  def pull(r):
    return problem.linear + problem.radius * (problem.factor.T @ r)

  def missed(pull, objective):
    return jnp.max(jnp.where(has_gradient, objective * problem.normal - pull, 0.0)) * unit

  def gain(pull):
    """The best worst gain that is certain, rounding forgiven."""
    return jnp.min(jnp.where(has_gradient, (pull + 16 * epsilon(gram)) / problem.normal, jnp.inf))

  some = jnp.where(size > 0, size, 1.0)
  per_length = 1.0 / jnp.where(has_gradient, lengths, longest)
  direction, plain = jnp.where(has_gradient, x, 0.0) / some, pull(u / some)
  # The objective is known up to the rounding of its terms, which may be large beside short gradients.
  residual = missed(plain, jnp.minimum(objective, jnp.maximum(objective - 16 * epsilon(gram) * jnp.sum(x), 0.0)))
  if at_kink is not None:
    # With a gradient of length 0 the best worst gain is at most 0: any w on that task alone has it.
    is_zero = ~jnp.all(has_gradient) & (objective > 0)
    uncertain = is_zero | (residual > 100 * epsilon(gram)) | (size <= epsilon(gram) ** 0.5 * jnp.sum(x))

    def better_of_both():
      other = at_kink() / per_length
      r = problem.factor @ other
      shrink = 1.0 / jnp.maximum(_size(r), 1.0)
      other_pull = pull(r * shrink)
      better = is_zero | (gain(other_pull) >= gain(plain))
      other_residual = missed(other_pull, jnp.minimum(objective, 0.0))
      return jnp.where(better, other * shrink, direction), jnp.where(better, other_residual, residual)

    direction, residual = jax.lax.cond(uncertain, better_of_both, lambda: (direction, residual))
  w = x * per_length
  return Directed(w / jnp.sum(w), direction * per_length, residual)


def _solve(problem: _Problem) -> _Iterate:
  linear, c, factor, normal = problem
  tasks, eps, shortest = linear.shape[0], epsilon(linear), 1.0 / jnp.max(normal)
  cosines = factor.T @ factor + 2 * eps * max(tasks, 4) * jnp.eye(tasks, dtype=linear.dtype)

  def iterate(carry):
    now, best, mark, idle, count = carry
    x, y, z, r, gap = now
    u = factor @ x
    size = _size(u)
    mu = (x @ z + c * (size - r @ u)) / (tasks + 1)
    delta = 0.3 * mu / c
    tau = jnp.sqrt(size**2 + delta * (size + delta))
    pull, along = factor.T @ u / tau, factor.T @ r
    dual, missing = linear + c * along - y * normal - z, 1.0 - normal @ x
    # Where the norm is flat, along x, m . dx is known: its square changes nothing but the condition of the system.
    curvature = c / tau * (cosines - 0.5 * (jnp.outer(pull, along) + jnp.outer(along, pull)))
    weight = c / tau * (x @ x)
    newton = cho_factor(curvature + weight * jnp.outer(normal, normal) + jnp.diag(z / x))

    def right_side(centre):
      # centre: the target of x z less x z.
      return centre / x - dual - c * (pull - along) + weight * missing * normal

    def direction(centre, dx):
      dy = (missing - normal @ dx) / (normal @ across)
      dx = dx + dy * across
      du = factor @ dx
      dr = (u + du - 0.5 * (r * (u @ du) + u * (r @ du)) / tau) / tau - r
      return dx, dy, (centre - z * dx) / x, dr

    across, dx = cho_solve(newton, jnp.stack([normal, right_side(-x * z)], axis=1)).T
    dx, dy, dz, dr = direction(-x * z, dx)
    length = jnp.minimum(1.0, jnp.minimum(to_boundary(x, dx), to_boundary(z, dz)))
    ahead = jnp.mean((x + length * dx) * (z + length * dz)) / mu
    # A barrier that vanishes faster, or before the equations hold, loses the path where the solution is degenerate.
    least = 0.1 * (jnp.abs(dual) @ x + jnp.abs(missing * y) + c * (size - r @ u)) / tasks
    target = jnp.maximum(jnp.clip(ahead**3, 0.2, 1.0) * mu, least)
    centre = target - x * z - dx * dz
    dx, dy, dz, dr = direction(centre, cho_solve(newton, right_side(centre)))

    def trial(share, dual_share):
      return _rated(problem, x + share * dx, y + dual_share * dy, z + dual_share * dz, r + dual_share * dr)

    # The longest common step, unless it loses much. Then the best of shorter and of unequal ones: with equal ones alone
    # r may swing from one end of the ball to the other for good.
    primal = jnp.minimum(1.0, 0.98 * to_boundary(x, dx))
    dual = jnp.minimum(1.0, 0.98 * to_boundary(z, dz))
    shares = jnp.array(_TRIALS, linear.dtype)
    equal = jnp.minimum(primal, dual) * shares
    inside = jnp.append(dual * shares, jnp.minimum(dual, 0.98 * _to_sphere(r, dr)))
    trials = jax.vmap(trial)(
      jnp.concatenate([equal, jnp.tile(primal * shares, len(inside))]),
      jnp.concatenate([equal, jnp.repeat(inside, len(shares))]),
    )
    choice = jnp.where(trials.gap[0] < 2 * gap, 0, jnp.argmin(trials.gap))
    new = jax.tree.map(lambda leaf: leaf[choice], trials)
    is_better, is_progress = relative(new) < relative(best), relative(new) < 0.8 * mark
    mark = jnp.where(is_progress, relative(new), mark)
    best = jax.tree.map(lambda a, b: jnp.where(is_better, a, b), new, best)
    return new, best, mark, jnp.where(is_progress, 0, idle + 1), count + 1

  def relative(iterate):
    return iterate.gap / jnp.maximum(jnp.abs(iterate.y), shortest)

  def unfinished(carry):
    now, _, _, idle, count = carry
    return (relative(now) > 16 * eps) & (idle < _PATIENCE) & (count < _STEPS)

  x, inf = 1.0 / (normal * tasks), jnp.full((), jnp.inf, linear.dtype)
  start = _Iterate(x, -jnp.ones((), linear.dtype), normal, jnp.zeros_like(x), inf)
  return jax.lax.while_loop(unfinished, iterate, (start, start, inf, 0, 0))[1]


def _rated(problem: _Problem, x: jax.Array, y: jax.Array, z: jax.Array, r: jax.Array) -> _Iterate:
  """The iterate with its direction brought back into the unit ball, and its duality gap."""
  linear, c, factor, normal = problem
  r = r / jnp.maximum(_size(r), 1.0)
  u = factor @ x
  dual = linear + c * (factor.T @ r) - y * normal - z
  return _Iterate(x, y, z, r, x @ z + c * (_size(u) - r @ u) + jnp.abs(dual) @ x)


def _to_sphere(r: jax.Array, step: jax.Array) -> jax.Array:
  """The multiple of `step` that takes r to the unit sphere."""
  square, along = step @ step, r @ step
  root = jnp.sqrt(jnp.maximum(along**2 + square * (1.0 - r @ r), 0.0))
  return (root - along) / jnp.where(square > 0, square, 1.0)


def _size(u: jax.Array) -> jax.Array:
  return jnp.sqrt(u @ u)
