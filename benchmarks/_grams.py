"""Random Gram matrices of task gradients, for the benchmarks and the tests of the solvers."""

from __future__ import annotations

import numpy as np

KINDS = ("spectrum", "deficient", "lengths", "near", "opposed")


def factor(rng: np.random.Generator, tasks: int, kind: str) -> np.ndarray:
  """Gradients J (T, P) whose Gram matrix has trace 1.

  Args:
    rng: The source.
    tasks: T, at least 2.
    kind: "spectrum": directions at random, eigenvalues spread over a condition number of up to 1e8. "deficient": of
      lower rank. "lengths": independent directions, lengths over 1 to 1e4. "near": gradients that nearly agree.
      "opposed": those and one or two against them, all but stationary.
  """
  rank = rng.integers(1, tasks) if kind == "deficient" else tasks
  exponents = {"spectrum": rng.uniform(0, 8), "deficient": rng.uniform(0, 3)}.get(kind, 0.0)
  if kind in ("spectrum", "deficient"):
    left, _ = np.linalg.qr(rng.normal(size=(tasks, tasks)))
    values = 10.0 ** -np.concatenate([[0.0, exponents], rng.uniform(0, exponents, tasks)])[:rank]
    j = left[:, :rank] * np.sqrt(values)
  else:
    j = rng.normal(size=(tasks, tasks + 3))
    if kind == "lengths":
      j *= 10.0 ** rng.uniform(-2, 2, (tasks, 1))
    else:
      j = rng.normal(size=tasks + 3) + 10.0 ** rng.uniform(-4, 0) * j
    if kind == "opposed":
      against = rng.integers(1, 1 + tasks // 2, endpoint=False) if tasks > 3 else 1
      j[:against] *= -(10.0 ** rng.uniform(-1, 1))
  return j / np.sqrt(np.sum(j * j))


def factors(tasks: int, count: int, seed: int = 0) -> list[np.ndarray]:
  """`count` of them, all kinds in turn."""
  rng = np.random.default_rng((seed, tasks))
  return [factor(rng, tasks, KINDS[i % len(KINDS)]) for i in range(count)]


def task_like(tasks: int, count: int, seed: int = 0, width: int = 300) -> np.ndarray:
  """(N, T, T) Gram matrices like those met in training: a common part, conflicts, lengths over a factor of 10."""
  rng = np.random.default_rng((seed, tasks))
  common = rng.normal(size=(count, 1, width)) * rng.uniform(0.0, 1.0, (count, 1, 1))
  j = (common + rng.normal(size=(count, tasks, width))) * 10.0 ** rng.uniform(-0.5, 0.5, (count, tasks, 1))
  return np.einsum("ntp,nsp->nts", j, j)
