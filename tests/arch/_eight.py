"""Architectures on eight virtual devices against one; prints the distances as JSON."""

import functools
import json

import flax.linen as nn
import jax
import numpy as np
import optax

import mtl_jax as mtl
from tests.arch._table import TABLE, filled

BATCH, TX = 16, optax.adam(1e-2)
DIVIDED = {"mmoe": {"experts": 4}, "ple": {"shared_experts": 4, "task_experts": 4}}


def problem(name, count, **options):
  heads = {f"t{i}": mtl.from_linen(nn.Dense(1)) for i in range(count)}
  case, trunk = TABLE[name], mtl.from_linen(mtl.nn.MLP((8, 8)))
  net = case.make(case.fitted(trunk), heads, **case.options | options)
  return net, {task: mtl.tasks.regression(f"y_{task}") for task in heads}


@functools.cache
def arrays():
  rng = np.random.default_rng(0)
  y = {f"y_t{i}": rng.normal(size=3 * BATCH).astype(np.float32) for i in range(4)}
  return {"x": rng.normal(size=(3 * BATCH, 5)).astype(np.float32)} | y


def losses(net, tasks, mesh, rules, count):
  """The losses of some steps, (count, 4), and where the parameters are."""
  programs = mtl.train.compile_programs(net, tasks, mtl.balance.equal(), TX, arrays(), mesh=mesh, rules=rules)
  state, found = programs.create(jax.random.key(0)), []
  for i in range(count):
    batch = {key: value[BATCH * i : BATCH * (i + 1)] for key, value in arrays().items()}
    if mesh is not None:
      batch = mtl.shard.place(batch, mtl.shard.batch_sharding(mesh))
    state, metrics = programs.step(state, batch)
    found.append(list(map(float, metrics["losses"].values())))
  divided = [str(leaf.sharding.spec) for leaf in jax.tree.leaves(state.params) if "expert" in str(leaf.sharding)]
  return np.array(found), divided


def main():
  found = {"mesh": {}, "experts": {}}
  for name in TABLE:
    net, tasks = problem(name, 2)
    objective = mtl.objective(net, tasks)
    made = filled(jax.eval_shape(net.init, jax.random.key(0), arrays()["x"][:BATCH]))

    def run(batch, objective=objective, made=made):
      return objective(*made, batch)[0]

    batch = {key: value[:BATCH] for key, value in arrays().items()}
    mesh = mtl.make_mesh("data=8")
    placed = mtl.shard.place(batch, mtl.shard.batch_sharding(mesh))
    with jax.set_mesh(mesh):
      there = jax.jit(run)(placed)
    found["mesh"][name] = max(abs(float(there[task]) / float(loss) - 1) for task, loss in jax.jit(run)(batch).items())
  for name, options in DIVIDED.items():
    if name in TABLE:
      one, _ = losses(*problem(name, 4, **options), None, None, 3)
      eight, divided = losses(*problem(name, 4, **options), mtl.make_mesh("data=2,expert=4"), "expert_parallel", 3)
      found["experts"][name] = [float(np.abs(one - eight).max()), len(divided)]
  print(json.dumps(found))


if __name__ == "__main__":
  main()
