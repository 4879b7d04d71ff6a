"""The barrier problems of Nash-MTL and FairGrad, by damped Newton steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from mtl_jax.balance.solvers.solution import Solution, directions, epsilon, full_precision

_STEPS = 100
_PATIENCE = 3  # short steps that do not shorten: rounding
_SHARES = tuple(0.5**k for k in range(12))  # of the Newton step, tried at once


@full_precision
def barrier_newton(gram: Float[Array, "T T"], power: float = 1.0) -> Solution:
  r"""The positive solution of $G a = a^{-p}$: the minimum of $\tfrac12 a^T G a - \sum \psi(a)$, $\psi'(a) = a^{-p}$.

  The problem is cosines. The unknowns are $x_i = a_i |g_i|^{2 / (1 + p)}$, 1 for tasks that ignore each other whatever
  the lengths of their gradients, and the Newton system has entries of at most 1 in any scale.

  Args:
    gram: G, (T, T), positive semidefinite up to rounding, of any scale.
    power: p, positive; 1 for $G a = 1 / a$.

  Returns:
    a, and the residual $\max_i |a_i^p (G a)_i - 1|$ over the tasks with a gradient.
  """
  tasks, eps = gram.shape[0], epsilon(gram)
  cosines, lengths = directions(gram)
  has_gradient = lengths != 0
  # A gradient of length 0 counts as one as long as the longest, at right angles to all: it decides no scale.
  some = jnp.where(has_gradient, lengths, jnp.where(jnp.any(has_gradient), jnp.max(lengths), 1.0))
  # A step changes relative lengths |g_i| a_i = ratio_i x_i: all 1 for Nash.
  ratio = some ** ((power - 1.0) / (power + 1.0))
  ratio = ratio / jnp.max(ratio)

  # x runs to 0 where p is small and to infinity where no solution exists; beyond these powers nothing is left of it.
  floor, limit = float(jnp.finfo(gram.dtype).tiny) ** (0.8 / (1.0 + power)), eps ** (-1.0 / (1.0 + min(power, 1.0)))

  def slope(x):
    return cosines @ (ratio * x) - ratio * x**-power

  def iterate(carry):
    x, _, least, idle, count = carry
    gradient = slope(x)
    # In units in which the Hessian has a diagonal of ones.
    barrier = power * x ** -(1.0 + power)
    unit = 1.0 / jnp.sqrt(1.0 + barrier)
    hessian = jnp.where(jnp.eye(tasks, dtype=bool), 1.0 + 8 * eps, cosines * jnp.outer(unit, unit))
    step = -cho_solve(cho_factor(hessian), gradient * unit) * unit / (ratio * x)  # relative to x
    change = jnp.max(jnp.abs(step))

    # Along the step the derivative of the objective rises through 0: the longest share at which it is still near.
    moved = ratio * x * step
    share = jnp.minimum(1.0, 0.95 / jnp.maximum(jnp.max(-step), eps)) * jnp.array(_SHARES, gram.dtype)
    ahead = jnp.maximum(1.0 + share[:, None] * step[None, :], eps)
    linear, curved = moved @ (cosines @ (ratio * x)), moved @ (cosines @ moved)
    rise = linear + share * curved - ahead**-power @ (moved * ratio * x**-power)
    near = jnp.abs(rise) <= 0.5 * jnp.abs(moved @ gradient)
    choice = jnp.where(jnp.any(near), jnp.argmax(near), jnp.argmin(jnp.abs(rise)))
    stuck = (change < 0.05) & (change > 0.5 * least)
    new = jnp.maximum(x * ahead[choice], floor)
    # A matrix that rounding made indefinite ends the search where it is.
    new = jnp.where(jnp.all(jnp.isfinite(new)), new, x)
    return new, change, jnp.minimum(change, least), jnp.where(stuck, idle + 1, 0), count + 1

  def unfinished(carry):
    x, change, _, idle, count = carry
    # Steps converge quadratically: after one this short nothing is left.
    return (change > 0.5 * eps**0.5) & (jnp.max(x) < limit) & (idle < _PATIENCE) & (count < _STEPS)

  x, inf = jnp.ones(tasks, gram.dtype), jnp.full((), jnp.inf, gram.dtype)
  x = jax.lax.while_loop(unfinished, iterate, (x, inf, inf, 0, 0))[0]
  residual = jnp.max(jnp.where(has_gradient, jnp.abs(x**power * (cosines @ (ratio * x)) / ratio - 1.0), 0.0))
  return Solution(x * some ** (-2.0 / (1.0 + power)), residual)
