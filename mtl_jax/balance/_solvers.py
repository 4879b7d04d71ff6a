"""Exact solvers of the small convex problems behind the balancers: pure JAX, fixed shapes, safe in float32."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float


class Solution(NamedTuple):
  """A solution and how far it is from optimal, in the measure its solver names."""

  x: jax.Array
  residual: jax.Array


def report_residual(residual: jax.Array) -> dict[str, jax.Array]:
  """The `report` of a balancer whose state is the residual of its last solution."""
  return {"residual": residual}


def simplex_qp(gram: Float[Array, "T T"]) -> Solution:
  r"""$\arg\min_{w \in \Delta} \tfrac12 w^T G w$, by a primal-dual interior-point method.

  Newton steps on $G w - y 1 - z = 0$, $1^T w = 1$, $w_i z_i = \mu$ with Mehrotra's choice of $\mu$: 10 to 25
  Cholesky factorisations, whatever the condition of G.

  Args:
    gram: G, (T, T), positive semidefinite up to rounding, of any scale.

  Returns:
    w, and the duality gap $w^T G w - \min_i (G w)_i$ relative to the trace of G.
  """
  tasks = gram.shape[0]
  eps = float(jnp.finfo(gram.dtype).eps)
  trace = jnp.trace(gram)
  unit = gram / jnp.where(trace > 0, trace, 1.0) + eps * jnp.eye(tasks, dtype=gram.dtype)

  def step_length(x, dx):
    return jnp.minimum(1.0, 0.99 * jnp.min(jnp.where(dx < 0, -x / jnp.where(dx < 0, dx, -1.0), jnp.inf)))

  def iterate(carry):
    w, y, z, _, count = carry
    factor = cho_factor(unit + jnp.diag(z / w))
    ones = jnp.ones_like(w)
    inverse_ones = cho_solve(factor, ones)

    def direction(dual, centre):
      # dual: G w - y - z, which must vanish; centre: the target of w z less w z.
      base = cho_solve(factor, centre / w - dual)
      dy = (1.0 - jnp.sum(w) - jnp.sum(base)) / jnp.sum(inverse_ones)
      dw = base + dy * inverse_ones
      return dw, dy, (centre - z * dw) / w

    dual, mu = unit @ w - y - z, jnp.mean(w * z)
    dw, dy, dz = direction(dual, -w * z)
    length = jnp.minimum(step_length(w, dw), step_length(z, dz))
    ahead = jnp.mean((w + length * dw) * (z + length * dz))
    dw, dy, dz = direction(dual, (ahead / mu) ** 3 * mu - w * z - dw * dz)
    length = jnp.minimum(step_length(w, dw), step_length(z, dz))
    new = (w + length * dw, y + length * dy, z + length * dz)
    return *new, _gap(unit, new[0]), count + 1

  def unfinished(carry):
    return (carry[3] > 4 * eps) & (carry[4] < 40)

  w = jnp.full(tasks, 1.0 / tasks, gram.dtype)
  pull = unit @ w
  y = jnp.min(pull) - 1.0 / tasks
  start = (w, y, pull - y, jnp.asarray(jnp.inf, gram.dtype), 0)
  w = jax.lax.while_loop(unfinished, iterate, start)[0]
  w = w / jnp.sum(w)
  return Solution(w, _gap(unit, w))


def _gap(gram: jax.Array, w: jax.Array) -> jax.Array:
  pull = gram @ w
  return w @ pull - jnp.min(pull)


def barrier_newton(gram: Float[Array, "T T"]) -> Solution:
  r"""The positive solution of $G a = 1 / a$, the minimum of $\tfrac12 a^T G a - \sum \log a$, by damped Newton steps.

  The problem is self-concordant: steps $1 / (1 + \lambda)$, $\lambda$ the Newton decrement, converge from anywhere.
  It is solved for the cosine matrix (unit diagonal), so tasks of any mixture of scales are alike.

  Args:
    gram: G, (T, T), positive semidefinite up to rounding, of any scale.

  Returns:
    a, and the residual $\max_i |a_i (G a)_i - 1|$ over the tasks with a gradient.
  """
  tasks = gram.shape[0]
  eps = float(jnp.finfo(gram.dtype).eps)
  diagonal = jnp.diagonal(gram)
  norms = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
  cosines = jnp.where(jnp.eye(tasks, dtype=bool), 1.0, gram / norms[:, None] / norms[None, :])
  # Bounds the solution (by eps ** -1/2) where none exists.
  convex = cosines + 4 * eps * jnp.eye(tasks, dtype=gram.dtype)

  def iterate(carry):
    b, _, count = carry
    gradient = convex @ b - 1.0 / b
    # The Hessian in units of b is better conditioned: B G B + I.
    hessian = convex * b[:, None] * b[None, :] + jnp.eye(tasks, dtype=gram.dtype)
    step = -cho_solve(cho_factor(hessian), b * gradient)
    decrement = jnp.sqrt(jnp.maximum(-(b * gradient) @ step, 0.0))
    damping = jnp.where(decrement < 0.25, 1.0, 1.0 / (1.0 + decrement))
    return b * (1.0 + damping * step), decrement, count + 1

  def unfinished(carry):
    return (carry[1] > 10 * eps) & (carry[2] < 60)

  start = (jnp.ones(tasks, gram.dtype), jnp.asarray(jnp.inf, gram.dtype), 0)
  b = jax.lax.while_loop(unfinished, iterate, start)[0]
  residual = jnp.max(jnp.where(diagonal > 0, jnp.abs(b * (cosines @ b) - 1.0), 0.0))
  return Solution(b / norms, residual)
