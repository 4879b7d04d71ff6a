"""One step on eight virtual devices in up to three ways, against one device; prints the distances as JSON."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import mtl_jax as mtl
from mtl_jax.nn._batch_norm import BatchNorm
from tests.engine._problem import Trunk, problem, relative_distance, update


class ConvTrunk(nn.Module):
  """Batch statistics, so that devices must agree on them; a width that eight does not divide."""

  @nn.compact
  def __call__(self, x, train=False):
    x = x.reshape(x.shape[0], 4, 4, -1)
    x = nn.relu(BatchNorm()(nn.Conv(6, (3, 3))(x), train))
    return nn.Dense(10)(nn.LayerNorm()(x.mean(axis=(1, 2))))


KINDS = {
  "dense": {"trunk": Trunk((16, 12))},
  "conv": {"trunk": ConvTrunk()},
  "uncut": {"cut": False},
  "own inputs": {"own_inputs": True},
  "terms": {},
}
TERMS = {
  "sparse": mtl.terms.l1("kernel", strength=0.01),
  "small": mtl.terms.of_features(lambda z: jnp.sum(z * z, axis=1), strength=0.1),
  "consistent": mtl.terms.of_predictions(lambda y, batch: (y["t0"] - y["t2"])[:, 0] ** 2, strength=0.3),
}
# Each engine, and each kind of net on one that reads or follows its backward pass. Methods of other kinds:
# tests/train/_devices.py.
CASES = [
  *(("terms", "pcgrad", engine) for engine in ("stacked", "factored")),  # and an auxiliary task
  *(("dense", "pcgrad", engine) for engine in ("features", "sketched")),
  ("conv", "mgda", "gram"),
  ("uncut", "mgda", "gram"),
  ("own inputs", "mgda", "factored"),
  ("dense", "db", "stacked"),  # norms of whole rows
  ("dense", "famo", "losses"),  # looks at the losses after the update
  ("dense", "sdmgrad", "gram"),  # two parts of the batch
]


EXACT = ("losses", "stacked", "gram", "factored")  # which agree on one device, by other tests
MAPPED = (("terms", "stacked"), ("dense", "sketched"))  # what is also tried in `pmap`, which knows no mesh


def problem_of(kind):
  """Of a kind of net; labels are scarce and unevenly spread: a mean of the devices' means would not be the mean."""
  net, tasks, batch, inputs = problem(3, batch=48, **KINDS[kind])
  batch |= {f"m{i}": (jnp.arange(48) % (5 + 4 * i) < 2).astype(jnp.float32) for i in range(3)}
  tasks = {task: mtl.tasks.regression(f"y_{task}", mask=f"m{i}" if i else None) for i, task in enumerate(tasks)}
  if kind == "terms":
    net, tasks = mtl.arch.with_terms(net, TERMS), {**tasks, "t1": mtl.tasks.auxiliary(tasks["t1"])}
  return net, tasks, batch, inputs


def step_of(kind, name, engine, mesh=None):
  """The step, its state and the batch."""
  net, tasks, batch, inputs = problem_of(kind)
  engine = mtl.engine.sketched(64) if engine == "sketched" else getattr(mtl.engine, engine)()
  balancer, tx = getattr(mtl.balance, name)(), optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(1), inputs=inputs, engine=engine)
  return mtl.make_train_step(mtl.objective(net, tasks, inputs), balancer, tx, engine, mesh=mesh), state, batch


@functools.cache
def on_one_device(kind, name, engine):
  step, state, batch = step_of(kind, name, engine)
  return jax.jit(step)(state, batch)


def distances(kind, name, engine):
  """Of each way's update from that of one device, relative to it."""
  mesh = mtl.make_mesh("data=8")
  step, state, batch = step_of(kind, name, engine)
  divided, _, _ = step_of(kind, name, engine, mesh)
  spread, alike = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
  per_device = jax.shard_map(step, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
  ways = {
    "jit": jax.jit(divided, out_shardings=alike)(jax.device_put(state, alike), jax.device_put(batch, spread)),
    "shard_map": jax.jit(per_device)(state, batch),
  }
  if (kind, engine) in MAPPED:
    cut = jax.tree.map(lambda leaf: leaf.reshape(8, -1, *leaf.shape[1:]), batch)
    ways["pmap"] = jax.tree.map(lambda leaf: leaf[0], jax.pmap(step, axis_name="data", in_axes=(None, 0))(state, cut))
  base = on_one_device(kind, name, next(e for e in EXACT if (kind, name, e) in CASES) if engine in EXACT else engine)
  ways = {way: (new.params, new.state, metrics) for way, (new, metrics) in {"one": base, **ways}.items()}
  ways = jax.device_get(ways)
  one, one_state, one_metrics = ways.pop("one")
  return {
    way: max(
      relative_distance(update(state.params, params), update(state.params, one)),
      relative_distance(net_state, one_state) if jax.tree.leaves(one_state) else 0.0,
      *(relative_distance(metrics[key], one_metrics[key]) for key in ("losses", "terms") if one_metrics[key]),
    )
    for way, (params, net_state, metrics) in ways.items()
  }


def main():
  print(json.dumps({" ".join(case): distances(*case) for case in CASES}))


if __name__ == "__main__":
  main()
