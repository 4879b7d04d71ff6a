"""What a process with eight virtual devices finds; printed as JSON for the tests."""

import functools
import json
import tempfile
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

import mtl_jax as mtl
from mtl_jax.plan._collectives import collectives
from tests._compilations import compilations
from tests.shard._train import TASKS, TX, arrays, fit, net, placement, valid_losses

RUNS = {
  "replicated 8": ("data=8", None),
  "fsdp 4": ("data=4", mtl.shard.fsdp(64)),
  "zero 8": ("data=8", mtl.shard.zero(64)),
  "tensor parallel 4 x 2": ("data=4,model=2", "tensor_parallel"),
  "own 4 x 2": ("data=4,model=2", [("shared/.*kernel", P("data", "model"))]),
}


def distance(a, b):
  return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def mesh_of(spec):
  count = eval(spec.replace("data=", "").replace(",model=", "*"))
  return mtl.make_mesh(spec, jax.devices()[:count])


def steps(mesh, rules, balancer=None, engine=None, count=8):
  """The losses of some steps, (count, 2), how many programs they took, and the state after them."""
  balancer = mtl.balance.equal() if balancer is None else balancer
  programs = mtl.train.compile_programs(net(), TASKS, balancer, TX, arrays(), engine=engine, mesh=mesh, rules=rules)
  state = programs.create(jax.random.key(0))
  found, before = [], compilations()
  for i in range(count):
    rows = {key: value[8 * i : 8 * i + 32] for key, value in arrays().items()}
    batch = rows if mesh is None else mtl.shard.place(rows, mtl.shard.batch_sharding(mesh))
    old = state
    state, metrics = programs.step(state, batch)
    found.append(metrics["losses"])
  found = [list(map(float, line.values())) for line in found]
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.params))
  return found, compilations() - before, state


def runs():
  base, _, _ = steps(None, None)
  found = {}
  for name, (spec, rules) in RUNS.items():
    losses, compiled, state = steps(mesh_of(spec), rules)
    divided = sorted(path for path, spec in placement(state).items() if spec != "P()")
    found[name] = {"distance": distance(losses, base), "compiled": compiled, "divided": divided}
  return found


def engines():
  """Losses of Gram methods over sharded parameters against one device."""
  balancer = mtl.balance.mgda()
  base, _, _ = steps(None, None, balancer, count=3)
  found = {}
  for name, run in {"gram": "fsdp 4", "factored": "fsdp 4", "stacked": "tensor parallel 4 x 2"}.items():
    spec, rules = RUNS[run]
    losses, _, _ = steps(mesh_of(spec), rules, balancer, getattr(mtl.engine, name)(), count=3)
    found[f"{name}, {run}"] = distance(losses, base)
  return found


def constrained():
  """Whether the rows of the batch stay on their device: the shape of the activations that a device computes."""
  mesh = mtl.make_mesh("data=8")
  found = {}

  def per_example(x):
    return (mtl.shard.constrain(jnp.tanh(x)) ** 2).sum()

  x = jnp.ones((16, 3))
  plain = jax.grad(per_example)(x)
  with jax.set_mesh(mesh):
    for name, f in {
      "jit": jax.jit(lambda x: mtl.shard.constrain(x * 2.0)),
      "grad": jax.jit(jax.grad(per_example)),
      "vmap": jax.jit(jax.vmap(mtl.shard.constrain, in_axes=1, out_axes=1)),
    }.items():
      y = f(x)
      found[name] = [str(y.sharding.spec), y.addressable_shards[0].data.shape]
    found["grad value"] = distance(jax.jit(jax.grad(per_example))(x), plain)
    found["indivisible"] = str(jax.make_jaxpr(mtl.shard.constrain)(jnp.ones((3, 2))).eqns)
  found["no mesh"] = str(jax.make_jaxpr(mtl.shard.constrain)(x).eqns)
  local = jax.shard_map(mtl.shard.constrain, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
  found["shard_map"] = distance(jax.jit(local)(x), x)
  found["pmap"] = distance(jax.pmap(mtl.shard.constrain, axis_name="data")(x.reshape(8, 2, 3)), x.reshape(8, 2, 3))
  with jax.set_mesh(jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))):
    found["explicit"] = str(jax.make_jaxpr(mtl.shard.constrain)(x).eqns)
  return found


def gradients():
  """The parts of gradients on each device, by the optimizer's rules; one gradient is of some rows of its parameter."""
  params = {"kernel": jnp.ones((16, 8)), "bias": jnp.ones(3), "table": jnp.ones((64, 8))}
  grads = {**params, "table": jnp.ones((5, 8))}
  found = {}
  with jax.set_mesh(mtl.make_mesh("data=8")):
    for name, rules in {"zero": mtl.shard.zero(64), "replicated": None}.items():
      placed = jax.jit(functools.partial(mtl.shard.constrain_gradients, params=params, rules=rules))(grads)
      found[name] = {key: leaf.sharding.shard_shape(leaf.shape) for key, leaf in placed.items()}
  return found


def batch_statistics():
  """Outputs and statistics of a batch, on one device and in programs for one device of eight."""
  trunk = mtl.from_linen(mtl.nn.ResNet((1,), width=2, small_images=True))
  x = jnp.asarray(np.random.default_rng(0).normal(size=(16, 4, 4, 1)), jnp.float32)
  x = x + jnp.arange(16.0, dtype=jnp.float32).reshape(16, 1, 1, 1)
  params, state = trunk.init(jax.random.key(0), x)
  apply = functools.partial(trunk.apply, train=True)
  y, new = jax.jit(apply)(params, state, x)
  mesh = mtl.make_mesh("data=8")
  mapped = jax.shard_map(apply, mesh=mesh, in_specs=(P(), P(), P("data")), out_specs=(P("data"), P()))
  far = {}
  for name, (y2, new2) in {
    "shard_map": jax.jit(mapped)(params, state, x),
    "pmap": jax.pmap(apply, axis_name="data", in_axes=(None, None, 0), out_axes=(0, None))(
      params, state, x.reshape(8, 2, 4, 4, 1)
    ),
  }.items():
    gaps = jax.tree.map(lambda a, b: distance(np.asarray(a), np.asarray(b)), new, new2)
    far[name] = max(distance(np.asarray(y), np.asarray(y2).reshape(y.shape)), *jax.tree.leaves(gaps))
  return far


def fits(directory):
  """`fit` broken off on one mesh and resumed on another, against one unbroken run on one device."""
  whole = fit(steps=8)
  fit(mtl.make_mesh("data=4,model=2"), "tensor_parallel", steps=4, run_dir=directory)
  config = directory / "config.json"  # a run killed at step 4 of 8
  config.write_text(config.read_text().replace('"steps": 4', '"steps": 8'))
  second = fit(mesh_of("data=2"), mtl.shard.fsdp(64), steps=8, run_dir=directory, resume=True)
  gaps = jax.tree.map(distance, whole.state.params, second.state.params)
  return {
    "parameters": max(jax.tree.leaves(gaps)),
    "validation": distance(valid_losses(whole)[-4:], valid_losses(second)[-4:]),
  }


def parts():
  """Parameters and validation after steps on inputs of several parts, on four devices against one."""
  data = arrays()
  x = data.pop("x")
  data |= {"left": x[:, :2], "right": {"a": (x[:, 2:],)}}
  results = [
    mtl.fit(
      net(Joined()), TASKS, mtl.balance.pcgrad(), TX, data, valid=data, inputs=("left", "right"),
      engine=mtl.engine.gram(), mesh=mesh, steps=3, batch_size=32, progress=False, accumulate=2,
    )
    for mesh in (None, mesh_of("data=4"))
  ]  # fmt: skip
  gaps = jax.tree.map(distance, *(result.state.params for result in results))
  return max(distance(*map(valid_losses, results)), *jax.tree.leaves(gaps))


def tables():
  """A table divided by rows, of which steps update some: losses as on one device, and what is sent."""
  columns, names = mtl.nn.Embeddings((50_000, 100), 8, multiple=8), ("a", "b")
  trunk = mtl.arch.chain(mtl.from_linen(columns), mtl.from_linen(mtl.nn.MLP((8,))))
  network = mtl.arch.hard_sharing(trunk, {name: mtl.from_linen(nn.Dense(1)) for name in names})
  tasks = {name: mtl.tasks.regression(name) for name in names}
  rng = np.random.default_rng(0)
  data = {"x": rng.integers(0, 100, (64, 2)).astype(np.int32)} | {n: rng.normal(size=64).astype("f") for n in names}
  options = {"engine": "stacked", "sparse": {"table$": lambda batch: columns.rows(batch["x"])}}
  balancer, losses, found = mtl.balance.metabalance(), {}, {}
  for spec in (None, "data=8", "data=2,table=4"):
    mesh, rules = (None, None) if spec is None else (mtl.make_mesh(spec), "row_wise")
    programs = mtl.train.compile_programs(network, tasks, balancer, TX, data, mesh=mesh, rules=rules, **options)
    state = programs.create(jax.random.key(0))
    losses[spec] = []
    for _ in range(3):
      batch = data if mesh is None else mtl.shard.place(data, mtl.shard.batch_sharding(mesh))
      state, metrics = programs.step(state, batch)
      losses[spec].append([float(loss) for loss in metrics["losses"].values()])
    if mesh is not None:
      text = programs.step.lower(state, batch).compile().as_text()
      part = state.params["shared"]["stage_0"]["table"].sharding.shard_shape((columns.count, 8))
      sent = sum(one.bytes for one in collectives(text, 8))
      found[spec] = {"distance": distance(losses[spec], losses[None]), "part": part, "sent": sent}
  return found


class Joined(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.Dense(8)(jnp.concatenate(jax.tree.leaves(x), axis=-1))


if __name__ == "__main__":
  with tempfile.TemporaryDirectory() as tmp:
    found = {
      "runs": runs(),
      "engines": engines(),
      "constrain": constrained(),
      "gradients": gradients(),
      "statistics": batch_statistics(),
      "parts": parts(),
      "tables": tables(),
      "fits": fits(Path(tmp) / "run"),
    }
  print(json.dumps(found))
