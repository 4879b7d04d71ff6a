"""A step on an embedding table, dense and by rows: its time and memory here, and what it needs on many devices.

`python benchmarks/embeddings.py`, two minutes; the table for TPUs is left out where their compiler is not installed.
"""

from __future__ import annotations

import os
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _machine import describe, write
from _markdown import table

import mtl_jax as mtl
from mtl_jax.plan import plan

TASKS = {name: mtl.tasks.binary(name) for name in ("click", "conversion")}
MESHES = ("data=8", "data=2,table=4")


def main(
  rows: int = 1_000_000,
  many_rows: int = 10_000_000,
  features: int = 16,
  batch_size: int = 4096,
  rounds: int = 9,
  topologies: tuple[str, ...] = ("cpu:8", "v5e:2x4"),
):
  """Writes benchmarks/results/embeddings.md.

  Args:
    rows: Rows of the table that is trained here.
    many_rows: Those of the table that is planned for other devices.
    features: Length of the vectors.
    batch_size: Examples per step.
    rounds: Steps that are timed of each kind, in turns.
    topologies: Devices to plan for.
  """
  jax.config.update("jax_num_cpu_devices", 8)  # for plans
  here = timed(rows, features, batch_size, rounds)
  planned = []
  for topology in topologies:
    try:
      planned += [line for mesh in MESHES for line in plans(many_rows, features, batch_size, topology, mesh)]
    except mtl.UserError as error:
      print(error)
  heading = ["devices", "mesh", "step", "arguments MiB", "temporary MiB", "sent MB"]
  write(
    "embeddings.md",
    f"""# Embedding tables

`python benchmarks/embeddings.py --rows {rows} --many-rows {many_rows} --batch-size {batch_size} --rounds {rounds}`

{describe("flax", "optax")}; load average {os.getloadavg()[0]:.1f}.

PCGrad on two binary tasks, engine `stacked`, Adam; one categorical column of so many rows of {features} numbers, a
perceptron of 64 units, {batch_size} examples drawn uniformly. *rows*: with `sparse=`; *dense*: without. Memory is the
compiler's count for one device, beside the state and the batch (*arguments*).

## {rows:,} rows, one device

{table(["step", "median ms", "quartiles", "arguments MiB", "temporary MiB"], here)}

## {many_rows:,} rows, `rules="row_wise"`

Per device and step; *sent* is what a device of a ring sends.

{table(heading, planned)}
""",
  )


def network(rows: int, features: int) -> tuple[mtl.Net, mtl.nn.Embeddings]:
  """A trunk on one column, and the column."""
  columns = mtl.nn.Embeddings((rows,), features)
  trunk = mtl.arch.chain(mtl.from_linen(columns), mtl.from_linen(mtl.nn.MLP((64,))))
  return mtl.arch.hard_sharing(trunk, {name: mtl.from_linen(nn.Dense(1)) for name in TASKS}), columns


def kinds(columns: mtl.nn.Embeddings) -> dict[str, Any]:
  """`sparse=` of each kind of step."""
  return {"rows": {"table$": lambda batch: columns.rows(batch["x"])}, "dense": None}


def timed(rows: int, features: int, batch_size: int, rounds: int) -> list[list[str]]:
  """Steps of both kinds on one device, in turns."""
  net, columns = network(rows, features)
  rng, tx = np.random.default_rng(0), optax.adam(1e-3)

  def batch():
    labels = {name: jnp.asarray(rng.integers(0, 2, batch_size)) for name in TASKS}
    return {"x": jnp.asarray(rng.integers(0, rows, (batch_size, 1)), jnp.int32)} | labels

  programs, states, memory = {}, {}, {}
  times: dict[str, list[float]] = {name: [] for name in kinds(columns)}
  for name, sparse in kinds(columns).items():
    states[name] = mtl.init_train_state(net, TASKS, "pcgrad", tx, batch(), jax.random.key(0), engine="stacked")
    mesh = mtl.make_mesh("data=1", jax.devices()[:1])  # otherwise all virtual devices would count
    step = mtl.make_train_step(mtl.objective(net, TASKS), "pcgrad", tx, "stacked", sparse=sparse, mesh=mesh)
    programs[name] = jax.jit(step, donate_argnums=0).lower(states[name], batch()).compile()
    memory[name] = programs[name].memory_analysis()
  for _ in range(rounds + 1):
    for name, program in programs.items():
      given = jax.block_until_ready(batch())
      begun = time.perf_counter()
      states[name], _ = jax.block_until_ready(program(states[name], given))
      times[name].append(time.perf_counter() - begun)
  lines = []
  for name, found in times.items():
    low, middle, high = (1e3 * np.quantile(found[1:], q) for q in (0.25, 0.5, 0.75))
    sizes = [f"{size / 2**20:.1f}" for size in (memory[name].argument_size_in_bytes, memory[name].temp_size_in_bytes)]
    lines.append([name, f"{middle:.1f}", f"{low:.1f} to {high:.1f}", *sizes])
  return lines


def plans(rows: int, features: int, batch_size: int, topology: str, mesh: str) -> list[list[str]]:
  """Both kinds of step on devices that are not here."""
  net, columns = network(rows, features)
  batch = {"x": jax.ShapeDtypeStruct((batch_size, 1), jnp.int32)}
  batch |= {name: jax.ShapeDtypeStruct((batch_size,), jnp.int32) for name in TASKS}
  lines = []
  for name, sparse in kinds(columns).items():
    options = {"mesh": mesh, "rules": "row_wise", "sparse": sparse}
    (report,) = plan(net, TASKS, "pcgrad", optax.adam(1e-3), batch, topology, ["stacked"], **options)
    if report.memory is None:
      lines.append([topology, mesh, name, "", "does not fit", ""])
      continue
    sizes = [f"{size / 2**20:.1f}" for size in (report.memory.arguments, report.memory.temporary)]
    lines.append([topology, mesh, name, *sizes, f"{sum(one.sent for one in report.collectives) / 1e6:.2f}"])
  return lines


if __name__ == "__main__":
  tyro.cli(main)
