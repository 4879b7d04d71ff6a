"""One process of a run, `python -m tests.shard._job COUNT RANK PORT DIRECTORY [DOOMED SIGNAL]`.

DOOMED sends itself a signal.
"""

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np

import mtl_jax as mtl


def main(count, rank, port, directory, doomed=-1, sent=signal.SIGKILL):
  if count > 1:
    mtl.shard.start_processes(f"127.0.0.1:{port}", count, rank)
  from tests.shard import _train

  evaluations = 0

  def score(metrics):
    nonlocal evaluations
    evaluations += 1
    if evaluations == (3 if sent == signal.SIGKILL else 1) and rank == doomed:
      os.kill(os.getpid(), sent)
      time.sleep(2.5)  # JAX looks for the signal once per second, and the few steps that are left take less
    return metrics["size"]["loss"]

  mesh = mtl.make_mesh("data=-1")
  result = _train.fit(
    mesh, mtl.shard.fsdp(64), mtl.balance.mgda(), steps=20, eval_every=4, run_dir=directory, resume=True, score=score
  )
  everywhere = jax.sharding.NamedSharding(mesh, jax.P())
  params = jax.jit(lambda tree: tree, out_shardings=everywhere)((result.state.params, result.params))
  flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(jax.device_get(params))])
  local = sum(shard.data.size for leaf in jax.tree.leaves(result.state.params) for shard in leaf.addressable_shards)
  collected = _collect(_train, mesh, result)
  np.savez(Path(directory).parent / f"{Path(directory).name}-{rank}.npz", params=flat, local=local, **collected)


def _collect(job, mesh, result):
  """What a metric collects of a data set that batches, of which the last is short, do not divide."""
  collected = {}

  def compute(scores, labels, weights):
    collected.update(scores=scores, labels=labels, weights=weights)
    return scores.sum()

  task = dataclasses.replace(job.TASKS["size"], metrics={"whole": mtl.tasks.metrics.collected(compute)})
  evaluate = mtl.train.make_evaluate(job.net(), job.TASKS | {"size": task}, batch_size=8, mesh=mesh)
  found = evaluate(result.params, result.net_state, job.arrays(31, 1))
  return collected | {"value": found["size"]["whole"]}


if __name__ == "__main__":
  count, rank, port, directory, *doomed = sys.argv[1:]
  main(int(count), int(rank), port, Path(directory), *map(int, doomed))
