"""Eigenvalues of positive semidefinite matrices with a rank tolerance, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mtl_jax.balance.solvers.solution import epsilon, full_precision


class Spectrum(NamedTuple):
  """The eigenvalues and eigenvectors of a symmetric matrix.

  Attributes:
    values: The eigenvalues in rising order, (T,).
    vectors: The eigenvectors in columns, (T, T).
    kept: Which eigenvalues count, (T,) bool: those that are not rounding.
  """

  values: Float[Array, " T"]
  vectors: Float[Array, "T T"]
  kept: Bool[Array, " T"]


def spectrum(gram: Float[Array, "T T"], tolerance: float | jax.Array = 1.0) -> Spectrum:
  """The eigenvalues of G, of which those above `tolerance` roundings of the largest count.

  Args:
    gram: G, (T, T), symmetric, positive semidefinite up to rounding, its entries of order 1.
    tolerance: In units of the dtype's relative rounding.

  Returns:
    The spectrum.
  """
  values, vectors = jnp.linalg.eigh(gram)
  return Spectrum(values, vectors, values > tolerance * epsilon(gram) * values[-1])


@full_precision
def apply_spectrum(
  spectral: Spectrum, function: Callable[[jax.Array], jax.Array], x: Float[Array, " T"]
) -> Float[Array, " T"]:
  r"""$V f(\Lambda) V^T x$ over the eigenvalues that count.

  A component of x along a kept eigenvector is taken as 0 where it is within rounding of 0: a small eigenvalue would
  blow it up to something.

  Args:
    spectral: The spectrum of G, eigenvalues $\Lambda$ and eigenvectors V.
    function: f, of the eigenvalues, (T,) to (T,).
    x: (T,).

  Returns:
    (T,).
  """
  values, vectors, kept = spectral
  along = x @ vectors
  noise = 4 * epsilon(x) * jnp.sqrt(jnp.sum(x * x))
  wanted = kept & (jnp.abs(along) > noise)
  return vectors @ jnp.where(wanted, function(jnp.where(kept, values, 1.0)) * along, 0.0)


def pinv_apply(
  gram: Float[Array, "T T"], x: Float[Array, " T"], tolerance: float | jax.Array | None = None
) -> Float[Array, " T"]:
  """The pseudo-inverse of G times x: the least vector of those that solve G v = x best.

  Args:
    gram: G, (T, T), symmetric, positive semidefinite up to rounding, its entries of order 1.
    x: (T,).
    tolerance: As in `spectrum`; None: T.

  Returns:
    v, (T,).

  >>> pinv_apply(jnp.array([[2.0, 0.0], [0.0, 0.0]]), jnp.ones(2)).tolist()
  [0.5, 0.0]
  """
  return apply_spectrum(spectrum(gram, gram.shape[0] if tolerance is None else tolerance), jnp.reciprocal, x)
