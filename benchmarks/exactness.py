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

from mtl_jax.balance import solvers
from mtl_jax.balance.cagrad import with_mean

TASKS = (2, 3, 4, 8, 16, 24, 32, 64)
RADII = (0.1, 0.5, 0.9, 2.0)
ALPHAS = (0.5, 1.0, 2.0)


class Error(NamedTuple):
  """Of one problem.

  Attributes:
    error: Of the objective, or of the equation.
    reference: By how much the reference may be off.
    rounding: By how much the rounding of G changes the optimum, or what it leaves of the equation.
    reported: The residual that the solver reports.
  """

  error: float
  reference: float
  rounding: float
  reported: float


def mgda_errors(grams: np.ndarray, gradients: list[np.ndarray]) -> list[Error]:
  """Of min |J^T w|^2 over the simplex."""

  def one(gram, j, w, reported):
    factor = psd_factor(gram)
    best = least_in_hull(factor)
    found = np.sum((factor @ (w / w.sum())) ** 2)
    return Error(abs(found - best.value), best.gap, abs(best.value - least_in_hull(j.T).value), reported)

  return list(map(one, grams, gradients, *run(lambda g: tuple(solvers.simplex_qp(g)), grams)))


def cone_errors(grams: np.ndarray, gradients: list[np.ndarray], lower: np.ndarray) -> list[Error]:
  """Of the quadratic programs of UPGrad and DualProj, one per row of `lower`; the worst of each matrix."""

  def solve(gram):
    return tuple(solvers.bounded_qp(gram, jnp.asarray(lower, gram.dtype)))

  def one(gram, j, v, reported):
    factor = psd_factor(gram) if gram.dtype == np.float32 else j.T
    best, exact = ([bounded(f, low) for low in lower] for f in (factor, j.T))
    found = np.sum((factor @ np.maximum(v, lower).T) ** 2, axis=0)
    values = np.array([b.value for b in best])
    rounding = np.max(np.abs(values - [b.value for b in exact]))
    return Error(np.max(np.abs(found - values)), max(b.gap for b in best), rounding, reported)

  return list(map(one, grams, gradients, *run(solve, grams)))


def cagrad_errors(grams: np.ndarray, gradients: list[np.ndarray], c: float) -> list[Error]:
  """Of min g_0 . g_w + c |g_0| |g_w| over the simplex."""

  def solve(gram):
    # As `cagrad` does it, whose weights do not tell w.
    cosines, mean_length = with_mean(gram, jnp.full(gram.shape[0], 1.0 / gram.shape[0], gram.dtype))
    found = solvers.simplex_norm(gram, cosines, c)
    return found.x, cosines * jnp.sqrt(jnp.diagonal(gram)), mean_length, found.residual

  def one(gram, j, w, linear, mean_length, reported):
    # A factor of float64 G from G itself is good to 1e-8 only.
    factor = psd_factor(gram) if gram.dtype == np.float32 else j.T
    best, w = least_norm(factor, linear, c), w / w.sum()
    found = linear @ w + c * np.linalg.norm(factor @ w)
    rounding = abs(best.value - least_norm(j.T, linear, c).value)
    return Error(mean_length * abs(found - best.value), mean_length * best.gap, mean_length * rounding, reported)

  return list(map(one, grams, gradients, *run(solve, grams)))


def barrier_errors(grams: np.ndarray, gradients: list[np.ndarray], alpha: float) -> list[Error]:
  """Of |a^(1 / alpha) (G a) - 1|, beside one rounding of the terms of G a."""
  del gradients

  def one(gram, a, reported):
    eps, gram, scale = np.finfo(gram.dtype).eps, gram.astype(np.float64), a ** (1.0 / alpha)
    return Error(np.max(np.abs(scale * (gram @ a) - 1)), 0.0, eps * np.max(scale * (np.abs(gram) @ a)), reported)

  return list(map(one, grams, *run(lambda g: tuple(solvers.barrier_newton(g, 1.0 / alpha)), grams)))


def run(solve: Callable[[Any], tuple[Any, ...]], grams: np.ndarray) -> list[np.ndarray]:
  """What `solve` finds for each matrix, one after the other in one program."""
  found = jax.jit(lambda stack: jax.lax.map(solve, stack))(grams)
  return [np.asarray(leaf).astype(np.float64) for leaf in found]


def objectives(tasks: int) -> dict[str, Callable[..., list[Error]]]:
  """The problems whose objective is compared."""
  each, mean = np.eye(tasks) / tasks, np.full((1, tasks), 1.0 / tasks)
  return {
    "MGDA": mgda_errors,
    "UPGrad": lambda *given: cone_errors(*given, each),
    "DualProj": lambda *given: cone_errors(*given, mean),
    **{f"CAGrad c={c}": lambda *given, c=c: cagrad_errors(*given, c) for c in RADII},
  }


def equations(tasks: int) -> dict[str, Callable[..., list[Error]]]:
  """The equations whose residual is measured."""
  del tasks
  return {f"FairGrad alpha={a}": lambda *given, a=a: barrier_errors(*given, a) for a in ALPHAS}


def main(matrices: int = 1000, seed: int = 0) -> None:
  """Prints the worst errors in float32 and in float64.

  Args:
    matrices: How many, over T from 2 to 64.
    seed: Of the matrices.
  """
  each = max(1, matrices // len(TASKS))
  found: dict[Any, dict[Any, list[Error]]] = {objectives: {}, equations: {}}
  for dtype in (np.float32, np.float64):
    with jax.enable_x64(dtype == np.float64):
      for tasks in TASKS:
        gradients = factors(tasks, each, seed)
        grams = np.stack([j @ j.T for j in gradients]).astype(dtype)
        for problems, errors in found.items():
          for name, of in problems(tasks).items():
            errors.setdefault((name, np.dtype(dtype).name), []).extend(of(grams, gradients))

  print(f"{each * len(TASKS)} Gram matrices of trace 1, T in {TASKS}, condition up to 1e8 and of lower rank.\n")
  print("Worst error of the objective, of T quadratic programs a matrix for UPGrad. Beside it what the rounding of G")
  print("does to the optimum, how far the reference may be off, and the worst residual that the solver reports.\n")
  header = ["method", "dtype", "error", "rounding of G", "of the reference", "reported"]
  print(table(header, [objective_row(*key, errors) for key, errors in found[objectives].items()]))
  print("\nResidual |a^(1/alpha) (G a) - 1| (alpha = 1: also of Nash). Solvable are matrices where 10 roundings of the")
  print("terms of G a are below 1e-4; where they are more, gradients all but cancel.\n")
  header = ["method", "dtype", "solvable", "worst of these", "all: worst in roundings"]
  print(table(header, [equation_row(*key, errors) for key, errors in found[equations].items()]))


def objective_row(name: str, dtype: str, errors: list[Error]) -> list[str]:
  worst = [max(e[i] for e in errors) for i in range(4)]
  return [name, dtype, *map(number, [worst[0], worst[2], worst[1], worst[3]])]


def equation_row(name: str, dtype: str, errors: list[Error]) -> list[str]:
  solvable = [e.error for e in errors if 10 * e.rounding < 1e-4]
  share = f"{len(solvable)} of {len(errors)}"
  return [name, dtype, share, number(max(solvable, default=0.0)), number(max(e.error / e.rounding for e in errors))]


if __name__ == "__main__":
  tyro.cli(main)
