"""Exact solvers of the small convex problems behind the balancers: pure JAX, fixed shapes, safe in float32.

Each takes a Gram matrix of any scale and rank and returns a `Solution` with the distance from optimality that the
balancer reports. They work in the dtype of the matrix, float64 where that is enabled.
"""

from mtl_jax.balance.solvers.barrier import barrier_newton as barrier_newton
from mtl_jax.balance.solvers.cone import bounded_qp as bounded_qp
from mtl_jax.balance.solvers.least_norm import simplex_norm as simplex_norm
from mtl_jax.balance.solvers.simplex import project_simplex as project_simplex
from mtl_jax.balance.solvers.simplex import simplex_qp as simplex_qp
from mtl_jax.balance.solvers.solution import Solution as Solution
from mtl_jax.balance.solvers.solution import report_residual as report_residual
from mtl_jax.balance.solvers.solution import solved as solved
from mtl_jax.balance.solvers.spectral import apply_spectrum as apply_spectrum
from mtl_jax.balance.solvers.spectral import pinv_apply as pinv_apply
from mtl_jax.balance.solvers.spectral import spectrum as spectrum
