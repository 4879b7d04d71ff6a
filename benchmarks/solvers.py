"""The speed of the solvers alone: milliseconds a solution, medians, beside TorchJD's on the same matrices.

`OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/solvers.py`: with more threads the eigenvalues of CAGrad,
Aligned-MTL and ConFIG take 1 ms at T = 128 on an idle machine, and 100 where other work keeps its threads waiting.
Columns of TorchJD need `pip install torch torchjd`; Nash-MTL there also `cvxpy ecos`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _grams import task_like
from _markdown import number, table
from _torchjd import gram_weightings

import mtl_jax as mtl
from mtl_jax.balance import Stats

METHODS = {
  "upgrad": mtl.balance.upgrad,
  "dualproj": mtl.balance.dualproj,
  "mgda": mtl.balance.mgda,
  "cagrad": mtl.balance.cagrad,
  "nash": mtl.balance.nash,
  "fairgrad": mtl.balance.fairgrad,
  "aligned": mtl.balance.aligned,
  "config": mtl.balance.config,
  "pcgrad": mtl.balance.pcgrad,
}
TARGETS = {("upgrad", 32): 3.0, ("upgrad", 128): 40.0, **{(name, 128): 10.0 for name in ("mgda", "cagrad", "nash")}}


def main(tasks: tuple[int, ...] = (2, 8, 32, 128), matrices: int = 21, budget: float = 5.0) -> None:
  """Prints the table.

  Args:
    tasks: The numbers of tasks T.
    matrices: How many matrices a median is over.
    budget: Seconds after which TorchJD's median is taken over the matrices so far.
  """
  peers, note = gram_weightings()
  rows = []
  for name, make in METHODS.items():
    for count in tasks:
      grams = task_like(count, matrices).astype(np.float32)
      own = own_time(make(), grams)
      peer = median_time(peers[name](), grams, budget) if name in peers else None
      target = TARGETS.get((name, count))
      rows.append(
        [
          name,
          str(count),
          number(own),
          "-" if peer is None else number(peer),
          "-" if peer is None else f"{peer / own:.1f}",
          "" if target is None else f"{target:g} {'met' if own < target else 'MISSED'}",
        ]
      )
  print(f"{jax.devices()[0].device_kind}, float32, medians of {matrices} matrices. {note}\n")
  print(table(["method", "T", "mtl_jax ms", "torchjd ms", "torchjd / mtl_jax", "target ms"], rows))


def own_time(balancer: mtl.balance.Balancer, grams: np.ndarray) -> float:
  """Milliseconds a call of the jitted balancer, its compilation aside."""
  tasks = grams.shape[1]
  state, losses = balancer.init(tasks), jnp.ones(tasks)
  step = jax.jit(lambda gram: balancer.weigh(Stats(losses, gram), state)[0])
  stack = [jnp.asarray(gram) for gram in grams]
  step(stack[0]).block_until_ready()
  return median_time(lambda gram: step(gram).block_until_ready(), stack, float("inf"))


def median_time(solve: Callable[[Any], Any], grams: Any, budget: float) -> float:
  """The median of milliseconds a call over the matrices, at least two."""
  seconds, begin = [], time.perf_counter()
  for gram in grams:
    start = time.perf_counter()
    solve(gram)
    seconds.append(time.perf_counter() - start)
    if time.perf_counter() - begin > budget and len(seconds) > 1:
      break
  return 1e3 * float(np.median(seconds))


if __name__ == "__main__":
  tyro.cli(main)
