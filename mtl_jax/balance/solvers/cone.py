"""Quadratic programs with lower bounds, many right-hand sides of one matrix at once: projections on the dual cone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtl_jax.balance.solvers.interior import Iterate, interior_point
from mtl_jax.balance.solvers.solution import Solution, directions, epsilon, full_precision

_ROUNDING = 8  # of the vectors that v adds up, in units of the dtype's: what is left of the conditions
_GRADIENT_STEPS = 50
_ROUNDS = 15
_CONJUGATE_STEPS = 40


@full_precision
def bounded_qp(gram: Float[Array, "T T"], lower: Float[Array, "B T"], is_hard: bool = False) -> Solution:
  r"""$v_b = \arg\min_{v \ge u_b} v^T G v$ for each row $u_b$ of `lower`.

  In $y = |g| (v - u) \ge 0$ and the matrix C of cosines it is $\min \tfrac12 y^T C y + q^T y$: accelerated projected
  gradient steps of all right-hand sides at once guess which y are 0, rounds of conjugate gradients solve for the
  others and mend the guess until the conditions hold. These are products of (T, T) matrices only, about 200 at
  condition 1e4. Where they do not settle, which takes a nearly singular C, an interior-point method begins anew, in
  which v is one of many with the same $J^T v$.

  Args:
    gram: G, (T, T), positive semidefinite up to rounding, of any scale.
    lower: The bounds, (B, T).
    is_hard: Whether to begin with the interior-point method: where C is known to be singular.

  Returns:
    v, (B, T), and the largest violation of the optimality conditions, $\max_i |\min(y_i, (C y + q)_i)|$, relative to
    $|g_i|$ and the lengths of all that $J^T v$ adds up, $\sum_j |g_j| v_j$.
  """
  cosines, lengths = directions(gram)
  some = jnp.where(lengths == 0, 1.0, lengths)
  bounds = lower * lengths[None, :]
  sizes = jnp.sum(jnp.abs(bounds), axis=1, keepdims=True)
  sizes = jnp.where(sizes > 0, sizes, 1.0)
  linear = cosines @ (bounds / sizes).T  # one column a right-hand side

  def anew(y, residual):
    inner = _interior(cosines, linear)
    inner_residual = _residual(inner, cosines @ inner + linear)
    better = (residual > _ROUNDING * epsilon(y)) & (inner_residual < residual)
    return jnp.where(better, inner, y), jnp.where(better, inner_residual, residual)

  if is_hard:
    y, residual = anew(jnp.zeros_like(linear), jnp.full(len(lower), jnp.inf, gram.dtype))
  else:
    y, residual = _active_set(cosines, linear, _projected_gradient(cosines, linear))
    is_hard_after_all = jnp.any(residual > _ROUNDING * epsilon(y))
    y, residual = jax.lax.cond(is_hard_after_all, anew, lambda *found: found, y, residual)
  raised = jnp.where(lengths[None, :] == 0, 0.0, y.T * sizes / some[None, :])
  return Solution(lower + raised, jnp.max(residual))


def _residual(y: jax.Array, slope: jax.Array) -> jax.Array:
  """The largest violation of the conditions, one per column, relative to what rounding leaves of them."""
  # A sum beyond 100 times its bounds is the work of rounded eigenvalues: it excuses no more.
  return jnp.max(jnp.abs(jnp.minimum(y, slope)), axis=0) / (1.0 + jnp.minimum(jnp.sum(y, axis=0), 100.0))


def _projected_gradient(cosines: jax.Array, linear: jax.Array) -> jax.Array:
  """Nesterov's steps, restarted in each column where they turn back."""
  # A bound on the largest eigenvalue: of C^4 by its Frobenius norm, within T^(1/4) and usually a tenth.
  square = cosines @ cosines
  limit = jnp.sqrt(jnp.sqrt(jnp.linalg.norm(square @ square)))

  def step(_, carry):
    ahead, y, t = carry
    new = jnp.maximum(ahead - (cosines @ ahead + linear) / limit, 0.0)
    move = new - y
    turned = jnp.sum((ahead - new) * move, axis=0) > 0
    t_new = jnp.where(turned, 1.0, (1.0 + jnp.sqrt(1.0 + 4.0 * t * t)) / 2.0)
    momentum = jnp.where(turned, 0.0, (t - 1.0) / t_new)
    return new + momentum[None, :] * move, new, t_new

  zero = jnp.zeros_like(linear)
  return jax.lax.fori_loop(0, _GRADIENT_STEPS, step, (zero, zero, jnp.ones_like(linear[0])))[1]


def _active_set(
  cosines: jax.Array,
  linear: jax.Array,
  y: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Rounds of the primal-dual active-set method from y; the best y of each column and its residual."""

  def solve(free, y):
    """C y + q = 0 in the free entries, y = 0 in the others."""
    rest = jnp.where(free, -(cosines @ y + linear), 0.0)

    def step(carry):
      y, rest, direction, square, count = carry
      image = jnp.where(free, cosines @ direction, 0.0)
      curvature = jnp.sum(direction * image, axis=0)
      length = jnp.where(curvature > 0, square / jnp.where(curvature > 0, curvature, 1.0), 0.0)
      y, rest = y + length[None, :] * direction, rest - length[None, :] * image
      new = jnp.sum(rest * rest, axis=0)
      share = jnp.where(square > 0, new / jnp.where(square > 0, square, 1.0), 0.0)
      return y, rest, rest + share[None, :] * direction, new, count + 1

    def unfinished(carry):
      return (jnp.max(carry[3]) > (4 * epsilon(y)) ** 2) & (carry[4] < _CONJUGATE_STEPS)

    start = (y, rest, rest, jnp.sum(rest * rest, axis=0), 0)
    return jax.lax.while_loop(unfinished, step, start)[0]

  def round_(carry):
    y, slope, best, least, count = carry
    free = y > slope
    y = solve(free, jnp.where(free, y, 0.0))
    slope = cosines @ y + linear
    allowed = jnp.maximum(y, 0.0)
    residual = _residual(allowed, cosines @ allowed + linear)
    # Maxima on CPU may skip NaN.
    better = (residual < least) & jnp.all(jnp.isfinite(allowed), axis=0)
    return y, slope, jnp.where(better, allowed, best), jnp.where(better, residual, least), count + 1

  def unfinished(carry):
    return jnp.any(carry[3] > _ROUNDING * epsilon(y)) & (carry[4] < _ROUNDS)

  found = cosines @ y + linear
  start = (y, found, y, _residual(y, found), 0)
  return jax.lax.while_loop(unfinished, round_, start)[2:4]


def _interior(cosines: jax.Array, linear: jax.Array) -> jax.Array:
  # Rounding leaves eigenvalues down to here. The ridge lifts them, keeps v bounded where many have the same J^T v, and
  # moves the conditions by as much, relative to what J^T v adds up.
  tasks = len(cosines)
  cosines = cosines + epsilon(linear) * tasks**0.5 * jnp.eye(tasks, dtype=linear.dtype)

  def column(q):
    y = jnp.ones_like(q)
    start = Iterate(y, jnp.zeros((), q.dtype), jnp.maximum(cosines @ y + q, 1.0))

    def distance(now):
      return _residual(now.x, cosines @ now.x + q)

    return interior_point(cosines, q, start, distance=distance).x

  return jax.vmap(column, in_axes=1, out_axes=1)(linear)
