"""The updates of every method that TorchJD has too, beside TorchJD's, on random gradients and a golden matrix.

`python benchmarks/parity.py --out FILE`; needs `pip install torch torchjd cvxpy ecos`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _markdown import number, table
from _torchjd import DRAWS, aggregators, scalarizers

import mtl_jax as mtl
from mtl_jax.balance import Stats

GOLDEN = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]], np.float32)
METHODS: dict[str, Callable[[], mtl.balance.Balancer]] = {
  "equal": mtl.balance.equal,
  "mgda": mtl.balance.mgda,
  "upgrad": lambda: mtl.balance.upgrad(norm_eps=1e-4, reg_eps=1e-4),
  "dualproj": lambda: mtl.balance.dualproj(norm_eps=1e-4, reg_eps=1e-4),
  "cagrad": lambda: mtl.balance.cagrad(c=0.5, rescale=0),
  "nash": mtl.balance.nash,
  "fairgrad": lambda: mtl.balance.fairgrad(alpha=1.0),
  "aligned": mtl.balance.aligned,
  "imtl_g": mtl.balance.imtl_g,
  "config": mtl.balance.config,
  "krum": lambda: mtl.balance.krum(n_byzantine=1, n_selected=2),
  "pcgrad": mtl.balance.pcgrad,
  "gradvac": mtl.balance.gradvac,
  "pcd": mtl.balance.pcd,
  "modo": lambda: mtl.balance.modo(gamma=0.01, rho=0.1),
  "sdmgrad": lambda: mtl.balance.sdmgrad(learning_rate=0.5),
  "excess": lambda: mtl.balance.excess(eta=1.0),
  "trimmed_mean": lambda: mtl.balance.trimmed_mean(k=1),
  "graddrop": mtl.balance.graddrop,
}
WEIGHTERS: dict[str, Callable[[np.ndarray], mtl.balance.Balancer]] = {
  "geometric": lambda preference: mtl.balance.geometric(),
  "cosmos": lambda preference: mtl.balance.cosmos(preference, lam=2.0),
  "pbi": lambda preference: mtl.balance.pbi(preference, theta=5.0),
  "imtl_l": lambda preference: mtl.balance.imtl_l(),
  "uncertainty": lambda preference: mtl.balance.uncertainty(),
  "famo": lambda preference: mtl.balance.famo(),
  "dwa": lambda preference: mtl.balance.dwa(),
}
RANDOM = ("pcgrad", "gradvac")  # compared at T = 2, where there is one order
NOTES = {
  "equal": "TorchJD's Sum",
  "mgda": "exact here; TorchJD takes at most 100 Frank-Wolfe steps and stops at a step of 1e-3",
  "upgrad": "with TorchJD's norm_eps and reg_eps; both solve the quadratic programs; rounding of float32",
  "dualproj": "with TorchJD's norm_eps and reg_eps; both solve the quadratic program; rounding of float32",
  "cagrad": "rescale=0, as TorchJD; its conic solver works on a root of G, stops at its own tolerance",
  "nash": "exact here; TorchJD takes at most 20 convex-concave approximations (cvxpy, ECOS)",
  "fairgrad": "exact here; TorchJD calls a least-squares solver on the host",
  "aligned": "rounding of float32 eigenvalues",
  "imtl_g": "rounding of G's pseudo-inverse where weights are large",
  "config": "here from G, TorchJD from the gradients: rounding where they are nearly dependent",
  "krum": "squared distances here, as in the paper; TorchJD sums distances: other gradients may be selected",
  "pcgrad": "random orders: T = 2 only",
  "gradvac": "random orders: T = 2 only, first step",
  "pcd": "an interior-point method here, all sets of active constraints there; first step",
  "modo": "first step, both halves alike; rounding of float32",
  "sdmgrad": "lr 0.5, both halves alike; rounding of float32",
  "excess": "first step, in which TorchJD and the paper's code take the raw risk; here it is relative to itself, 1",
  "trimmed_mean": "T = 4 and 8; rounding of float32",
  "graddrop": f"random: means of {DRAWS} draws, which differ by their noise",
  "geometric": "weights; rounding of float32",
  "cosmos": "weights; rounding of float32",
  "pbi": "weights, relative to the sum of the preference's length; rounding of float32",
  "imtl_l": "weights of the first step",
  "uncertainty": "weights of the first step",
  "famo": "weights of the first step",
  "dwa": "weights of the first step",
}


def main(tasks: tuple[int, ...] = (2, 4, 8), matrices: int = 50, seed: int = 0, out: Path | None = None) -> None:
  """Prints relative distances |ours - theirs| / |theirs| of the updates.

  Args:
    tasks: The numbers of tasks T.
    matrices: How many random ones for each.
    seed: Of the matrices.
    out: A file for the table.
  """
  golden, note = aggregators(2)
  if not golden:
    print(note)
    return
  distances: dict[str, list[float]] = {name: [] for name in METHODS}
  for count in tasks:
    peers, _ = aggregators(count)
    for name in METHODS:
      if name in peers and (count == 2 or name not in RANDOM):
        distances[name] += compare(METHODS[name](), peers[name], random_gradients(count, matrices, seed))
    distances |= {name: distances.get(name, []) + found for name, found in weighters(count, matrices, seed).items()}
  rows = []
  for name, found in distances.items():
    if not found:
      continue
    on_golden = "-"
    if name in golden and name in METHODS:
      on_golden = number(compare(METHODS[name](), golden[name], GOLDEN[None])[0])
    rows.append([name, on_golden, number(float(np.median(found))), number(float(np.mean(found))), number(max(found))])
    rows[-1].append(NOTES[name])
  text = table(["method", "golden", "median", "mean", "worst", "why"], rows)
  head = f"{note} {matrices} matrices each of T in {tasks}, float32; distances relative to TorchJD's update."
  print(f"{head}\n\n{text}")
  if out is not None:
    out.write_text(f"{head}\n\n{text}\n")


def random_gradients(tasks: int, matrices: int, seed: int) -> np.ndarray:
  """(N, T, 50), lengths over a factor of 10, with conflicts."""
  rng = np.random.default_rng((seed, tasks))
  j = rng.normal(size=(matrices, tasks, 50)) + rng.normal(size=(matrices, 1, 50)) * rng.uniform(0, 1, (matrices, 1, 1))
  j[::3, 0] -= 1.5 * j[::3, 1]
  return (j * 10.0 ** rng.uniform(-0.5, 0.5, (matrices, tasks, 1))).astype(np.float32)


def compare(balancer: mtl.balance.Balancer, peer: Callable[[np.ndarray], np.ndarray], stack: np.ndarray) -> list[float]:
  """The relative distances of the updates."""
  tasks = stack.shape[1]
  state = balancer.init(tasks, [jnp.zeros(stack.shape[2])])

  @jax.jit
  def update(j):
    gram = mtl.balance.gram([j])
    stats = Stats(jnp.ones(tasks), gram, gram, [j])
    if balancer.combine is None:
      return balancer.weigh(stats, state)[0] @ j
    if not jnp.issubdtype(getattr(state, "dtype", None), jax.dtypes.prng_key):
      return balancer.combine(stats, state)[0][0]
    draws = jax.random.split(state, DRAWS)
    return jnp.mean(jax.lax.map(lambda key: balancer.combine(stats, key)[0][0], draws), axis=0)

  pairs = [(np.asarray(update(j), np.float64), np.asarray(peer(j), np.float64)) for j in stack]
  return [float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)) for ours, theirs in pairs]


def weighters(tasks: int, count: int, seed: int) -> dict[str, list[float]]:
  """The relative distances of the loss weighters' weights, on random losses and one preference."""
  rng = np.random.default_rng((seed, tasks, 1))
  preference = rng.dirichlet(np.ones(tasks)).astype(np.float32)
  losses = np.exp(rng.normal(size=(count, tasks))).astype(np.float32)
  found = {}
  for name, peer in scalarizers(tasks, preference).items():
    balancer = WEIGHTERS[name](preference)
    weigh = jax.jit(lambda row, balancer=balancer: balancer.weigh(Stats(row), balancer.init(tasks))[0])
    pairs = [(np.asarray(weigh(row), np.float64), np.asarray(peer(row), np.float64)) for row in losses]
    found[name] = [float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)) for ours, theirs in pairs]
  return found


if __name__ == "__main__":
  tyro.cli(main)
