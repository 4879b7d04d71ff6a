"""Reference solutions in float64 by scipy's active-set method (Lawson-Hanson), each with a bound on its error.

Every problem is stated with a factor F of the matrix, G = F^T F, whose condition is the root of that of G.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls


class Reference(NamedTuple):
  """The least objective, and by how much it may be too large: the duality gap."""

  value: float
  gap: float


def psd_factor(gram: np.ndarray) -> np.ndarray:
  """F with F^T F = G, without what rounding made negative."""
  values, vectors = np.linalg.eigh(gram.astype(np.float64))
  return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def least_in_hull(factor: np.ndarray) -> Reference:
  """The least |F w|^2 over the simplex: min |F x|^2 + (sum x - 1)^2 over x >= 0 is at a multiple of the same w."""
  tasks = factor.shape[1]
  x, _ = nnls(np.vstack([factor, np.ones(tasks)]), np.append(np.zeros(len(factor)), 1.0), maxiter=100 * tasks)
  w = x / x.sum()
  u = factor @ w
  return Reference(u @ u, u @ u - np.min(factor.T @ u))


def bounded(factor: np.ndarray, lower: np.ndarray) -> Reference:
  """The least |F v|^2 over v >= lower."""
  y, _ = nnls(factor, -factor @ lower, maxiter=100 * factor.shape[1])
  u = factor @ (lower + y)
  # The dual is max -|u|^2 + 2 u.F lower over F^T u >= 0; moving to its nearest feasible point costs this much.
  slope = factor.T @ u
  return Reference(u @ u, abs(y @ slope) + max(0.0, -slope.min()) * (y.sum() + 1.0))


def least_norm(factor: np.ndarray, linear: np.ndarray, radius: float) -> Reference:
  """The least q.w + c |F w| over the simplex, c > 0.

  Its dual is the largest t with some |r| <= 1, q + c F^T r >= t. For a given t the shortest such r is a nonnegative
  least-squares problem whose solution also gives a w; t is moved to where the bounds of the two meet.
  """
  tasks = len(linear)

  def objective(w):
    return linear @ w + radius * np.linalg.norm(factor @ w)

  upper, lower = objective(np.full(tasks, 1.0 / tasks)), np.min(linear) - radius * np.linalg.norm(factor, axis=0).max()
  t, rows = upper, np.append(np.zeros(len(factor)), 1.0)
  for step in range(100):
    system = np.vstack([factor, (t - linear) / radius])
    x, _ = nnls(system, rows, maxiter=100 * tasks)
    rest = rows - system @ x
    previous = upper
    if x.sum() > 0:
      upper = min(upper, objective(x / x.sum()))
    if rest[-1] > 0:
      r = -rest[:-1] / rest[-1]
      r = r / max(1.0, np.linalg.norm(r))
      lower = max(lower, np.min(linear + radius * (factor.T @ r)))
    if upper - lower < 1e-14:
      break
    # The upper bound is a Newton step; where it stalls, which is at a solution with F w = 0, the interval is halved.
    t = upper if step % 3 and upper < previous else 0.5 * (upper + lower)
  return Reference(upper, upper - lower)
