"""Aligned-MTL: the mean of the task gradients after their matrix is made orthogonal."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from mtl_jax._core.errors import check_choice
from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer, gram_balancer
from mtl_jax.balance.solvers.solution import relative_norms, scaled
from mtl_jax.balance.toolkit.preference import Preference, preferences, stateless_with

_SCALES = ("min", "median", "rmse")


def aligned(scale: Literal["min", "median", "rmse"] = "min", preference: Preference = None) -> Balancer:
  r"""Aligned-MTL: all principal components of the gradients get the same length (mean scale).

  $$ w = \sqrt{\lambda_s} \, V \Lambda^{-1/2} V^T p, \qquad G = V \Lambda V^T $$

  over the eigenvalues that are not rounding: those above T roundings of the largest. So gradients shorter than about
  1e-3 of the longest count as none in float32: by its definition the method compares lengths.

  Args:
    scale: $\lambda_s$, the common squared length: the least eigenvalue, their (lower) median or their mean.
    preference: p, (T,), not negative, in the order of the tasks; None: 1 / T each.

  Returns:
    The balancer.

  Raises:
    UserError: An unknown scale, a negative preference; at initialisation, a preference of another length than the
      number of tasks.

  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  >>> weights, _ = aligned().weigh(Stats(jnp.ones(2), gradients @ gradients.T), ())
  >>> (weights @ gradients).round(4).tolist()
  [0.2133, 0.9673, 0.9673]

  References:
    Senushkin, Patakin, Kuznetsov, Konushin, *Independent Component Alignment for Multi-Task Learning*, CVPR 2023.
  """
  check_choice("aligned", "scale", scale, _SCALES)
  of = preferences("aligned", preference)

  def weigh(stats, state):
    tasks = stats.gram.shape[0]
    p = of(tasks, stats.present).astype(stats.gram.dtype)
    unit = scaled(stats.gram, jnp.full(tasks, relative_norms(stats.gram)[1]))
    spectral = solvers.spectrum(unit, stats.num_present)
    rank = jnp.sum(spectral.kept)
    # Eigenvalues rise, so those that count are the last.
    chosen = {
      "min": lambda: spectral.values[tasks - rank],
      "median": lambda: spectral.values[tasks - rank + (rank - 1) // 2],
      "rmse": lambda: jnp.mean(spectral.values, where=spectral.kept),
    }[scale]()
    weights = solvers.apply_spectrum(spectral, lambda values: jnp.sqrt(chosen / values), p)
    return jnp.where(rank > 0, weights, p), state

  return gram_balancer(stateless_with(of), weigh, scale="mean")
