"""The simplex: projection, and the least quadratic form over it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Bool, Float

from mtl_jax.balance.solvers.interior import Iterate, interior_point
from mtl_jax.balance.solvers.solution import Solution, directions, epsilon, full_precision


def project_simplex(x: Float[Array, " T"], present: Bool[Array, " T"] | None = None) -> Float[Array, " T"]:
  r"""The nearest point of the simplex, $\arg\min_{w \in \Delta} |w - x|$, by sorting.

  Args:
    x: (T,), of any size.
    present: Which tasks have labels, (T,) bool: the others get 0. None: all.

  Returns:
    w, (T,), at least 0, of sum 1.

  >>> project_simplex(jnp.array([0.5, 1.5, -3.0])).tolist()
  [0.0, 1.0, 0.0]

  References:
    Held, Wolfe, Crowder, *Validation of subgradient optimization*, 1974.
  """
  x = x if present is None else jnp.where(present, x, -jnp.inf)
  # What is used twice a compiler may compute twice, rounded otherwise, and rounding of 1e8 is as wide as the simplex.
  # The sort makes it once: all else is of its results.
  rising, order = jax.lax.sort((-x, jnp.arange(x.shape[0])), num_keys=1)
  falling = jnp.maximum(rising[0] - rising, -1.0)  # the projection does not see a shift, float32 does
  counts = jnp.arange(1, x.shape[0] + 1, dtype=x.dtype)
  threshold = jnp.max((jnp.cumsum(falling) - 1.0) / counts)
  w = jnp.maximum(falling - threshold, 0.0)
  return jax.lax.sort((order, w / jnp.sum(w)), num_keys=1)[1]


@full_precision
def simplex_qp(gram: Float[Array, "T T"]) -> Solution:
  r"""$\arg\min_{w \in \Delta} w^T G w$, by an interior-point method and a last solve on the face it finds.

  It is solved in $x_i = |g_i| w_i$, for the matrix of cosines, so short gradients are not lost beside long ones.

  Args:
    gram: G, (T, T), positive semidefinite up to rounding, of any scale.

  Returns:
    w, and the largest violation of the conditions $g_i \cdot u \ge |u|^2$, $u = J^T w$, relative to
    $|g_i| \min_j |g_j|$.
  """
  tasks = gram.shape[0]
  cosines, lengths = directions(gram)
  shortest = jnp.min(lengths)
  # Beside a gradient of length 0 all others weigh nothing.
  normal = jnp.where(lengths == 0, 1.0, shortest / jnp.where(lengths == 0, 1.0, lengths))
  x = jnp.full(tasks, 1.0, gram.dtype) / jnp.sum(normal)
  pull = cosines @ x
  y = jnp.min(pull) - 1.0 / tasks
  start = Iterate(x, y, jnp.maximum(pull - y * normal, 1.0 / tasks))
  inner = interior_point(cosines, jnp.zeros_like(x), start, normal)

  def rated(x):
    x = x / (normal @ x)
    pull = cosines @ x
    return x, jnp.max((x @ pull) * normal - pull)

  # On the face the weights are those that make the gains equal: without the last roundings of the barrier.
  face = inner.x > inner.z
  shift = 4 * epsilon(gram) * jnp.eye(tasks, dtype=gram.dtype)
  among = jnp.where(face[:, None] & face[None, :], cosines + shift, jnp.eye(tasks, dtype=gram.dtype))
  flat, flat_residual = rated(jnp.maximum(cho_solve(cho_factor(among), jnp.where(face, normal, 0.0)), 0.0))
  x, residual = rated(inner.x)
  better = flat_residual <= jnp.maximum(residual, 16 * epsilon(gram))
  w = jnp.where(better, flat, x) * normal
  return Solution(w / jnp.sum(w), jnp.where(better, flat_residual, residual))
