"""Training on eight virtual devices against one, the batch divided; prints the distances as JSON."""

import json

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import mtl_jax as mtl
from tests._compilations import compilations
from tests.balance._table import TABLE
from tests.engine._problem import ConvTrunk, problem, relative_distance, update
from tests.train._run import run

LONG = (("uncertainty", "losses"), ("mgda", "stacked"))
BIAS = "shared/Dense_0/bias"  # before batch normalisation: its gradient is rounding, of which Adam would make steps
METHODS = ("gradnorm", "modo", "graddrop", "per_group", "chain")  # other kinds: above and in tests/engine/_devices.py


def mesh_of(devices):
  return mtl.make_mesh(f"data={devices}", jax.devices()[:devices])


def placed(state, batch, devices):
  mesh = mesh_of(devices)
  return jax.device_put(state, NamedSharding(mesh, P())), jax.device_put(batch, mtl.shard.batch_sharding(mesh))


def after_five_steps(name, engine, devices):
  """The parameters; all steps but the first two are one compiled program."""
  net, tasks, batch, _ = problem(3, trunk=ConvTrunk())
  balancer, engine, tx = getattr(mtl.balance, name)(), getattr(mtl.engine, engine)(), optax.sgd(0.02)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=engine)
  state, batch = placed(state, batch, devices)
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine), donate_argnums=0)
  for i in range(5):
    if i == 2:
      before = compilations()
    state, _ = step(state, batch)
  assert compilations() == before > 0
  return jax.device_get(state.params)


def one_step_apart(kind):
  """The distance of the updates of a kind of method."""
  net, tasks, batch, _ = problem(3)
  balancer, tx = TABLE[kind].make(3), optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0))
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx))
  single, several = step(state, batch)[0], step(*placed(state, batch, 8))[0]
  single, several, before = jax.device_get((single.params, several.params, state.params))
  return relative_distance(update(before, several), update(before, single))


def main():
  five = {}
  for name, engine in LONG:
    one, eight = (after_five_steps(name, engine, devices) for devices in (1, 8))
    gaps = jax.tree.map(lambda a, b: float(np.max(np.abs(a - b))), one, eight)
    five[f"{name} {engine}"] = max(jax.tree.leaves(gaps))
  one, four = (run(steps=5, accumulate=1, mesh=mesh_of(n), frozen=BIAS).history[-1] for n in (1, 4))
  fit = max(abs(one[key] / four[key] - 1) for key in ("kind/loss", "size/loss"))
  methods = {kind: one_step_apart(kind) for kind in METHODS}
  print(json.dumps({"five": five, "fit": fit, "methods": methods}))


if __name__ == "__main__":
  main()
