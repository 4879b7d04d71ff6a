"""Exact solvers of the small convex problems behind the balancers: pure JAX, fixed shapes, safe in float32.

Each takes a Gram matrix of any scale and rank and returns a `Solution` with the distance from optimality that the
balancer reports. They work in the dtype of the matrix, float64 where that is enabled.

Problems over the simplex, weights of at least 0 that sum to 1:

- `simplex_qp`: the combination of least norm.
- `simplex_norm`: a linear function plus a multiple of the norm.
- `project_simplex`: the nearest point of the simplex.

Others:

- `bounded_qp`: the combination of least norm with weights of at least given ones.
- `barrier_newton`: weights that equal a power of the gains.
- `spectrum`, `Spectrum`, `apply_spectrum`, `pinv_apply`: eigenvalues, functions of them, and the pseudo-inverse.

For balancers:

- `Solution`: what a solver returns.
- `solved`, `report_residual`: a balancer from a solver, and its report of the distance from optimality.
"""

from mtl_jax.balance.solvers.barrier import barrier_newton
from mtl_jax.balance.solvers.cone import bounded_qp
from mtl_jax.balance.solvers.least_norm import simplex_norm
from mtl_jax.balance.solvers.simplex import project_simplex, simplex_qp
from mtl_jax.balance.solvers.solution import Solution, report_residual, solved
from mtl_jax.balance.solvers.spectral import Spectrum, apply_spectrum, pinv_apply, spectrum

__all__ = [
  "Solution",
  "Spectrum",
  "apply_spectrum",
  "barrier_newton",
  "bounded_qp",
  "pinv_apply",
  "project_simplex",
  "report_residual",
  "simplex_norm",
  "simplex_qp",
  "solved",
  "spectrum",
]
