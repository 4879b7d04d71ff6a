"""A run with everything that has a memory: dropout, batch statistics, a random balancer, Adam, shuffling."""

import functools
import sys
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import optax

import mtl_jax as mtl


class Trunk(nn.Module):
  @nn.compact
  def __call__(self, x, train=False):
    x = nn.BatchNorm(use_running_average=not train)(nn.Dense(32)(x))
    return nn.Dropout(0.2, deterministic=not train)(nn.relu(x))


def arrays(count, seed):
  random = np.random.default_rng(seed)
  x = random.normal(size=(count, 6)).astype(np.float32)
  kind = (x[:, 0] + x[:, 1] > 0).astype(np.int32)
  return {"x": x, "kind": kind, "size": x[:, 2] * 2 + 1, "has_size": (x[:, 3] > 0).astype(np.float32)}


NET = mtl.arch.hard_sharing(
  mtl.from_linen(Trunk()), {"kind": mtl.from_linen(nn.Dense(2)), "size": mtl.from_linen(nn.Dense(1))}
)
TX = optax.adam(1e-2)
TASKS = {
  "kind": mtl.tasks.classification("kind", num_classes=2),
  "size": mtl.tasks.regression("size", mask="has_size"),
}


@functools.cache
def programs(nonfinite):
  """Compiled once for all tests."""
  return mtl.train.compile_programs(NET, TASKS, mtl.balance.pcgrad(), TX, arrays(500, 0), nonfinite=nonfinite)


def run(run_dir=None, *, steps=60, train=None, loop=None, tx=TX, **options):
  """A run of the problem; `loop`: the fields of `Loop` that differ."""
  options = {"eval_every": 10, "progress": False, "batch_size": 32, "valid": arrays(100, 1)} | options
  loop = {"log_every": 5} | (loop or {})
  train = arrays(500, 0) if train is None else train
  if "programs" not in loop and not {"accumulate", "compute_dtype"} & set(options):
    loop["programs"] = programs(options.get("nonfinite", "stop"))
  balancer = mtl.balance.pcgrad()
  return mtl.fit(NET, TASKS, balancer, tx, train, steps=steps, run_dir=run_dir, loop=mtl.train.Loop(**loop), **options)


def digest(params):
  leaves = jax.tree.leaves(params)
  leaves = [jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in leaves]
  return [np.asarray(leaf).tobytes().hex()[:4000] for leaf in leaves]


if __name__ == "__main__":
  result = run(Path(sys.argv[1]), steps=int(sys.argv[2]), resume="--resume" in sys.argv)
  print("".join(digest(result.state.params)))
