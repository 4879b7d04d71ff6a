"""One process of a run that `kills.py` kills: `python _kills_job.py KIND COUNT RANK PORT DIRECTORY`.

The run has everything that has a memory: dropout, batch statistics, a random balancer, Adam, shuffling, checkpoints at
every fifth step, evaluations. At its end it writes a digest of its state and of its best model.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import optax

import mtl_jax as mtl

STEPS = 120


class Trunk(nn.Module):
  """A layer with batch statistics and dropout."""

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.BatchNorm(use_running_average=not train)(nn.Dense(64)(x))
    return nn.Dropout(0.2, deterministic=not train)(nn.relu(x))


def arrays(count: int, seed: int) -> dict[str, np.ndarray]:
  """Examples of two tasks."""
  x = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
  return {"x": x, "a": (x[:, 0] > x[:, 1]).astype(np.int32), "b": x[:, 2] * x[:, 3], "c": x[:, 4] ** 2}


TASKS = {
  "a": mtl.tasks.classification("a", num_classes=2),
  "b": mtl.tasks.regression("b"),
  "c": mtl.tasks.regression("c"),
}


def main(kind: str, count: int, rank: int, port: str, directory: str) -> None:
  """Trains; `kind`: "arrays", or "mixture", a source for each task."""
  if count > 1:
    mtl.shard.start_processes(f"127.0.0.1:{port}", count, rank)
  heads = {name: mtl.from_linen(nn.Dense(2 if name == "a" else 1)) for name in TASKS}
  data = [arrays(500, 0), arrays(100, 1)]
  if kind == "mixture":
    data = [{name: arrays(300 + 50 * i, 3 * i + part) for i, name in enumerate(TASKS)} for part in range(2)]
  result = mtl.fit(
    mtl.arch.hard_sharing(mtl.from_linen(Trunk()), heads),
    TASKS,
    mtl.balance.pcgrad(),
    optax.adam(1e-2),
    data[0],
    valid=data[1],
    steps=STEPS,
    batch_size=48,
    eval_every=12,
    run_dir=directory,
    resume=True,
    progress=False,
    mesh=mtl.make_mesh("data=-1") if count > 1 else None,
    loop=mtl.train.Loop(log_every=3, checkpoint_every=5),
  )
  print("ended", flush=True)
  leaves = [leaf for leaf in jax.tree.leaves((result.state, result.params, result.net_state))]
  found = hashlib.sha256()
  for leaf in leaves:
    leaf = jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    found.update(np.asarray(leaf.addressable_data(0)).tobytes())
  Path(f"{directory}.{rank}.digest").write_text(found.hexdigest())


if __name__ == "__main__":
  kind, count, rank, port, directory = sys.argv[1:]
  main(kind, int(count), int(rank), port, directory)
