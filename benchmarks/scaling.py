"""How the step scales: 1 to 8 virtual devices on this machine, and what TPUs would send, read off compiled programs.

`python benchmarks/scaling.py`, some minutes; the second part needs the TPU compiler, `pip install 'mtl-jax[tpu]'`.
Virtual devices share this machine's cores, so their times show what dividing costs, not what devices gain.
"""

from __future__ import annotations

import importlib.util
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import tyro  # noqa: E402
from _machine import describe, write  # noqa: E402
from _markdown import number, table  # noqa: E402
from _workloads import WORKLOADS, Workload  # noqa: E402

import mtl_jax as mtl  # noqa: E402
from mtl_jax.plan import plan  # noqa: E402

RULES = ("replicated", "zero", "fsdp")


def main(
  devices: tuple[int, ...] = (1, 2, 4, 8),
  steps: int = 6,
  tasks: int = 3,
  topology: str = "v5e:2x4",
  engines: tuple[str, ...] = ("losses", "stacked", "gram", "factored", "features", "sketched"),
) -> None:
  """Writes benchmarks/results/scaling.md.

  Args:
    devices: Numbers of virtual devices.
    steps: Steps a number of devices.
    tasks: T.
    topology: What the second part compiles for.
    engines: Engines; `losses` with equal weighting, all others with PCGrad.
  """
  workload = WORKLOADS["mlp"](tasks)
  text = [f"# Scale\n\n{describe()}. Workload: {WORKLOADS['mlp'].__doc__} T = {tasks}.\n\n## Virtual devices\n"]
  text.append(f"PCGrad, {steps} steps; distance: the largest of the losses from those on one device, relative.\n")
  text.append(
    table(["devices", "engine", "rules", "ms", "distance", "compilations"], virtual(workload, devices, steps))
  )
  if importlib.util.find_spec("libtpu") is None:
    print("no TPU compiler, so nothing about TPUs: pip install 'mtl-jax[tpu]'")
  else:
    text.append(f"\n## {topology}\n\nOne step compiled, per device. A ring sends an all-reduce twice, others once;")
    text.append("P: the bytes of the shared parameters. Batch 1024.\n")
    header = ["engine", "rules", "all-reduce P", "reduce-scatter P", "all-gather P", "ring P", "temp MiB", "GFLOP"]
    text.append(table(header, compiled(tasks, topology, engines)))
  write("scaling.md", "\n".join(text))


def virtual(workload: Workload, counts: tuple[int, ...], steps: int) -> list[list[str]]:
  """Time, losses and compilations on the first n virtual devices."""
  rows = []
  for name in ("stacked", "sketched"):
    for rules in RULES if name == "stacked" else ("replicated",):
      first = None
      for count in counts:
        seconds, losses, compilations = train(workload, name, rules, count, steps)
        first = losses if first is None else first
        distance = float(np.max(np.abs(losses - first) / np.abs(first)))
        rows.append([str(count), name, rules, number(1e3 * seconds), number(distance), str(compilations)])
  return rows


def train(workload: Workload, name: str, rules: str, count: int, steps: int) -> tuple[float, np.ndarray, int]:
  """The median time of a step, all losses, and how often the step was compiled."""
  net, tasks, batch = workload.net, workload.tasks, workload.batch
  engine, balancer = getattr(mtl.engine, name)(), mtl.balance.pcgrad()
  tx = optax.sgd(1e-2, momentum=0.9)  # Adam's first steps make 1 of any gradient, of one that is rounding alone too
  mesh = mtl.make_mesh(f"data={count}", jax.devices()[:count])
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=engine)
  placed = mtl.shard.state_shardings(state, tx, mesh, rules if count > 1 else None)
  state = jax.device_put(state, placed)
  batch = jax.device_put(batch, mtl.shard.batch_sharding(mesh))
  step = mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine, mesh=mesh, rules=rules)
  jitted = jax.jit(step, donate_argnums=0, out_shardings=(placed, placed.step))
  losses, times = [], []
  compiled: list[str] = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
  )
  for _ in range(steps):
    start = time.perf_counter()
    state, metrics = jax.block_until_ready(jitted(state, batch))
    times.append(time.perf_counter() - start)
    losses.append([float(loss) for loss in metrics["losses"].values()])
  return float(np.median(times[1:])), np.array(losses), len(compiled)


def compiled(tasks: int, topology: str, engines: tuple[str, ...]) -> list[list[str]]:
  """What one step of each engine sends on TPUs."""
  workload = WORKLOADS["mlp"](tasks)
  shapes = {key: jax.ShapeDtypeStruct((1024, *leaf.shape[1:]), leaf.dtype) for key, leaf in workload.batch.items()}
  params = jax.eval_shape(lambda: workload.net.init(jax.random.key(0), jnp.zeros((2, 256))))[0]["shared"]
  shared = sum(4 * leaf.size for leaf in jax.tree.leaves(params))
  rows = []
  for name in engines:
    for rules in RULES if name == "stacked" else ("replicated",):
      balancer = mtl.balance.equal() if name == "losses" else mtl.balance.pcgrad()
      engine = getattr(mtl.engine, name)()
      (report,) = plan(
        workload.net, workload.tasks, balancer, optax.adam(1e-3), shapes, topology, [engine], rules=rules
      )
      sizes = {entry.kind: entry.bytes / shared for entry in report.collectives}
      ring = sum((2 if kind == "all-reduce" else 1) * size for kind, size in sizes.items())
      kinds = [f"{sizes.get(kind, 0.0):.3f}" for kind in ("all-reduce", "reduce-scatter", "all-gather")]
      temp = report.memory.temporary / 2**20 if report.memory else float("nan")
      rows.append([report.engine, rules, *kinds, f"{ring:.3f}", number(temp), number((report.flops or 0) / 1e9)])
  return rows


if __name__ == "__main__":
  tyro.cli(main)
