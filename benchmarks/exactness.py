"""How far the exact solvers are from the optimum, by independent solvers, on 1000 random Gram matrices of trace 1.

`python benchmarks/exactness.py`: minutes on a laptop. References are those of `_reference.py`, on the very matrix that
the solver is given: rounded to float32 where it works in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _grams import factors
from _markdown import number, table
from _reference import bounded, least_in_hull, least_norm, psd_factor

import mtl_jax as mtl
from mtl_jax.balance import Stats, _solvers
from mtl_jax.balance._dual_cone import regularized
from mtl_jax.balance._solution import relative_norms, scaled

TASKS = (2, 3, 4, 8, 16, 24, 32, 64)
RADII = (0.1, 0.5, 0.9, 2.0)
ALPHAS = (0.5, 1.0, 2.0)


class Error(NamedTuple):
  """Of one problem: the error of its objective, that of the reference, and the residual that is reported."""

  error: float
  reference: float
  reported: float


def mgda_errors(grams: np.ndarray) -> list[Error]:
  x, residual = run(_solvers.simplex_qp, grams)

  def one(gram, w, reported):
    factor = psd_factor(gram)
    best = least_in_hull(factor)
    return Error(np.sum((factor @ (w / w.sum())) ** 2) - best.value, best.gap, reported)

  return [one(*each) for each in zip(grams, x, residual, strict=True)]


def cone_errors(grams: np.ndarray, lower: np.ndarray) -> list[Error]:
  """Of the quadratic programs of UPGrad and DualProj, one a row of `lower`; the worst of each matrix."""
  matrices = np.asarray(jax.jit(jax.vmap(lambda g: regularized(g, 1e-4, 1e-4)))(grams))
  x, residual = run(lambda g: _solvers.bounded_qp(g, jnp.asarray(lower, g.dtype)), matrices)

  def one(gram, v, reported):
    factor = psd_factor(gram)
    best = [bounded(factor, low) for low in lower]
    found = np.sum((factor @ np.maximum(v, lower).T) ** 2, axis=0)
    return Error(np.max(np.abs(found - [b.value for b in best])), max(b.gap for b in best), reported)

  return [one(*each) for each in zip(matrices, x, residual, strict=True)]


def cagrad_errors(grams: np.ndarray, c: float) -> list[Error]:
  """In units of |g_0|, the length of the mean gradient, and relative to the longest gradient."""

  def solve(gram):
    # As cagrad does it; its weights do not show w where w does not matter.
    lengths, longest = relative_norms(gram)
    gains = jnp.mean(scaled(gram, jnp.full_like(lengths, longest)), axis=1)
    cosines = jnp.clip(gains / lengths / jnp.sqrt(jnp.maximum(jnp.mean(gains), 1e-30)), -1.0, 1.0)
    found = _solvers.simplex_norm(gram, cosines, c)
    return _solvers.Solution(jnp.concatenate([found.x, found.direction, cosines * lengths]), found.residual)

  x, residual = run(solve, grams)

  def one(gram, found, reported):
    factor = psd_factor(gram)
    factor = factor / np.linalg.norm(factor, axis=0).max()
    w, direction, linear = np.split(found, 3)
    best = least_norm(factor, linear, c)
    w = w / w.sum()
    return Error(linear @ w + c * np.linalg.norm(factor @ w) - best.value, best.gap, reported)

  return [one(*each) for each in zip(grams, x, residual, strict=True)]


def barrier_errors(grams: np.ndarray, alpha: float) -> list[Error]:
  """The residual of G a = a^(-1 / alpha), and what rounding leaves of it: the roundings of the terms of (G a)_i."""
  x, residual = run(lambda g: _solvers.barrier_newton(g, 1.0 / alpha), grams)
  eps = np.finfo(grams.dtype).eps

  def one(gram, a, reported):
    gram = gram.astype(np.float64)
    scale = a ** (1.0 / alpha)
    return Error(np.max(np.abs(scale * (gram @ a) - 1)), eps * np.max(scale * (np.abs(gram) @ a)), reported)

  return [one(*each) for each in zip(grams, x, residual, strict=True)]


def run(solve: Callable[[Any], Any], grams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """x and the residual of each matrix, one after the other in one program."""
  x, residual = jax.jit(lambda all: jax.lax.map(lambda g: tuple(solve(g))[:: len(solve(g)) - 1], all))(grams)
  return np.asarray(x, np.float64), np.asarray(residual, np.float64)


def problems(tasks: int) -> dict[str, Callable[[np.ndarray], list[Error]]]:
  """The problems whose objective is compared."""
  each, mean = np.eye(tasks) / tasks, np.full((1, tasks), 1.0 / tasks)
  return {
    "MGDA": mgda_errors,
    "UPGrad": lambda grams: cone_errors(grams, each),
    "DualProj": lambda grams: cone_errors(grams, mean),
    **{f"CAGrad c={c}": lambda grams, c=c: cagrad_errors(grams, c) for c in RADII},
  }


def residuals() -> dict[str, Callable[[np.ndarray], list[Error]]]:
  """The equations whose residual is measured."""
  return {f"FairGrad alpha={a}" if a != 1 else "Nash, FairGrad alpha=1.0": lambda g, a=a: barrier_errors(g, a) for a in ALPHAS}


def main(matrices: int = 1000, seed: int = 0) -> None:
  """Prints the worst errors in float32 and in float64.

  Args:
    matrices: How many, over T from 2 to 64.
    seed: Of the matrices.
  """
  each = max(1, matrices // len(TASKS))
  sets = {t: [j @ j.T for j in factors(t, each, seed)] for t in TASKS}
  objectives, equations = {}, {}
  for dtype in (np.float32, np.float64):
    with jax.enable_x64(dtype == np.float64):
      for tasks, grams in sets.items():
        stack = np.stack(grams).astype(dtype)
        for name, errors in problems(tasks).items():
          objectives.setdefault((name, dtype), []).extend(errors(stack))
        for name, errors in residuals().items():
          equations.setdefault((name, dtype), []).extend(errors(stack))

  print(f"{each * len(TASKS)} Gram matrices of trace 1, T in {TASKS}, condition up to 1e8 and of lower rank.\n")
  print("Worst error of the objective (UPGrad: of T quadratic programs each).\n")
  header = ["method", "float32", "float64", "error of the reference at most", "reported f32", "reported f64"]
  print(table(header, map(lambda n: objective_row(n, objectives), dict.fromkeys(n for n, _ in objectives))))
  print("\nWorst residual |a^(1/alpha) (G a) - 1|. Rounding of G alone changes it by `noise`: where G is nearly singular")
  print("against a positive vector, the solution is long and float32 does not hold it.\n")
  header = ["method", "dtype", "solvable*", "worst of these", "99 % of all", "worst of all / noise"]
  print(table(header, [residual_row(*key, errors) for key, errors in equations.items()]))
  print("\n*: matrices where 10 times the noise is below 1e-4.")


def objective_row(name: str, found: dict[Any, list[Error]]) -> list[str]:
  single, double = found[name, np.float32], found[name, np.float64]
  worst = [max(abs(e.error) for e in errors) for errors in (single, double)]
  reported = [max(e.reported for e in errors) for errors in (single, double)]
  return [name, *map(number, [*worst, max(e.reference for e in single + double), *reported])]


def residual_row(name: str, dtype: Any, errors: list[Error]) -> list[str]:
  solvable = [e.error for e in errors if 10 * e.reference < 1e-4]
  ratio = max(e.error / e.reference for e in errors)
  percentile = np.percentile([e.error for e in errors], 99)
  share = f"{len(solvable)} / {len(errors)}"
  return [name, np.dtype(dtype).name, share, number(max(solvable)), number(percentile), number(ratio)]


if __name__ == "__main__":
  tyro.cli(main)
