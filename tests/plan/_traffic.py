"""Compiles one step for eight TPUs with each engine, and prints what they send as JSON; run with a TPU compiler."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

import mtl_jax as mtl
from mtl_jax.plan import plan, plan_step
from mtl_jax.plan._topology import open_topology

WIDTHS = (512,) * 2
INPUTS = 256
TASKS = 3
K = 256


def main():
  names = [f"t{i}" for i in range(TASKS)]
  heads = {name: mtl.from_linen(nn.Dense(1)) for name in names}
  net = mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.MLP(WIDTHS)), heads)
  tasks = {name: mtl.tasks.regression(name) for name in names}
  batch = {"x": jax.ShapeDtypeStruct((1024, INPUTS), jnp.float32)}
  batch |= {name: jax.ShapeDtypeStruct((1024,), jnp.float32) for name in names}
  found, tx = {}, optax.sgd(1e-3)
  for balancer, engines in {
    "pcgrad": ["stacked", "gram", "factored", "features", "sketched"],
    "equal": ["losses"],
  }.items():
    made = [mtl.engine.sketched(K) if name == "sketched" else getattr(mtl.engine, name)() for name in engines]
    for report in plan(net, tasks, getattr(mtl.balance, balancer)(), optax.sgd(1e-3), batch, "v5e:2x4", made):
      found[f"{balancer} {report.engine}"] = sizes(report)
  for rules in ("zero", "fsdp"):
    made = [mtl.engine.stacked()]
    (report,) = plan(net, tasks, mtl.balance.pcgrad(), optax.adam(1e-3), batch, "v5e:2x4", made, rules=rules)
    found[f"pcgrad stacked {rules}"] = sizes(report)
    assert report.memory is not None
    found[f"pcgrad stacked {rules}"]["arguments"] = report.memory.arguments
  ple = functools.partial(mtl.arch.ple, shared_experts=4, task_experts=4)
  for name, make in {"mmoe": mtl.arch.mmoe, "ple": ple}.items():
    experts, where = make(mtl.from_linen(mtl.nn.MLP(WIDTHS)), heads), {"mesh": "data=2,expert=4"}
    for size in (512, 1024):
      some = {key: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype) for key, leaf in batch.items()}
      made = [mtl.engine.losses()]
      (report,) = plan(experts, tasks, mtl.balance.equal(), tx, some, "v5e:2x4", made, rules="expert_parallel", **where)
      found[f"{name} {size}"] = sizes(report)
  for engine in (mtl.engine.stacked(), mtl.engine.gram()):
    report = per_device(net, tasks, batch, engine)
    found[f"pcgrad {engine.name} shard_map"] = sizes(report)
  print(json.dumps(found))


def sizes(report):
  return {entry.kind: entry.bytes for entry in report.collectives}


def per_device(net, tasks, batch, engine):
  """The step as a program for one device of eight."""
  balancer, tx, target = mtl.balance.pcgrad(), optax.sgd(1e-3), open_topology("v5e:2x4")

  def create(batch):
    return mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=engine)

  state = jax.eval_shape(create, batch)
  step = mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine)
  mapped = jax.shard_map(step, mesh=target.mesh, in_specs=(P(), P("data")), out_specs=P())
  return plan_step(mapped, state, batch, target, engine.name)


if __name__ == "__main__":
  main()
