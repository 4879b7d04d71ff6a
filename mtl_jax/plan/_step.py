"""`plan_step`, one train step compiled for a topology and measured without running it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mtl_jax._core import devices as _devices
from mtl_jax._core.errors import UserError
from mtl_jax.plan._collectives import collectives
from mtl_jax.plan._report import Memory, Report, roofline
from mtl_jax.plan._topology import Target, open_topology
from mtl_jax.shard import batch_sharding

_CHANGE = "take a smaller batch, --accumulate, --dtype bfloat16, the engine gram or losses, or a larger chip."


def plan_step(
  step: Callable[..., Any], state: Any, batch: Any, topology: str | Target, engine: str = "", shardings: Any = None
) -> Report:
  """Compiles a train step for devices that are not here, the batch sharded over them.

  Args:
    step: `step(state, batch) -> (state, metrics)`, not jitted, as from `mtl.make_train_step`.
    state: The train state, arrays or `jax.ShapeDtypeStruct`s, for example from `jax.eval_shape`.
    batch: The batch of all devices, arrays or `jax.ShapeDtypeStruct`s whose first axis is that of the examples.
    topology: Such as `"v5e:4x4"`, `"h100:8"` or `"cpu:8"`.
    engine: For the report.
    shardings: Where the state's arrays are, over the topology's mesh, as from `mtl.shard.state_shardings`; None:
      everything on every device.

  Returns:
    What the step needs.

  Raises:
    UserError: An unknown topology, a compiler that is not installed, or a batch that cannot be split over the devices.
  """
  target = open_topology(topology) if isinstance(topology, str) else topology
  devices = target.mesh.size
  check_batch(batch, target.mesh.shape[_devices.DATA])
  everywhere = NamedSharding(target.mesh, P())
  placed = jax.tree.map(lambda leaf: everywhere, state) if shardings is None else shardings
  state = jax.tree.map(shape_of, state, placed)
  batch = jax.tree.map(lambda leaf: shape_of(leaf, batch_sharding(target.mesh)), batch)
  with _devices.on(target.mesh):
    lowered = jax.jit(step, donate_argnums=0, out_shardings=(placed, everywhere)).lower(state, batch)
  start = time.perf_counter()
  try:
    compiled = lowered.compile(compiler_options=dict(target.compiler_options) or None)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    seconds = time.perf_counter() - start
    capacity = _capacity(target)
    return Report(
      engine, target.name, devices, False, out_of_memory(str(error)), capacity, None, None, None, (), None, seconds
    )
  seconds = time.perf_counter() - start
  costs = compiled.cost_analysis()
  if not costs:  # compilers for GPUs tell none: the FLOPs of the step as it is traced, divided evenly
    with _devices.on(target.mesh):
      unplaced = jax.tree.map(lambda leaf: leaf.update(sharding=None), (state, batch))
      traced = jax.jit(step).lower(*unplaced).cost_analysis() or {}
    costs = {"flops": traced["flops"] / devices} if "flops" in traced else {}
  return _report(engine, target, compiled, costs, seconds)


def check_batch(batch: Any, devices: int, pieces: int = 1) -> None:
  """Raises a `UserError` for a batch that cannot be split over the devices."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
    size = np.shape(leaf)[0] if np.ndim(leaf) else 0
    if size == 0 or size % (devices * pieces):
      raise UserError(
        f"the batch's {jax.tree_util.keystr(path, simple=True, separator='/')!r} has shape {np.shape(leaf)}: it cannot "
        f"be split over {devices} devices{f' x {pieces} pieces' if pieces > 1 else ''}: choose a batch size that is a "
        f"multiple of {devices * pieces}."
      )


def shape_of(array: Any, sharding: Any = None) -> jax.ShapeDtypeStruct:
  """The shape of an array as JAX will hold it, 64-bit numbers in 32 bits.

  >>> shape_of(np.zeros(2, np.int64))
  ShapeDtypeStruct(shape=(2,), dtype=int32)
  """
  dtype = jax.dtypes.canonicalize_dtype(array.dtype, allow_extended_dtype=True)  # that of keys is an extended one
  return jax.ShapeDtypeStruct(array.shape, dtype, sharding=sharding)


def out_of_memory(message: str) -> str:
  """One line of the compiler's complaint, the largest buffers if it names them, and what to change.

  >>> out_of_memory("RESOURCE_EXHAUSTED: Ran out of memory on HBM (66.03G) exceeds available HBM (15.75G).")[:60]
  'Ran out of memory on HBM (66.03G) exceeds available HBM (15.'
  """
  lines = message.splitlines()
  first = lines[0].partition("RESOURCE_EXHAUSTED:")[2].strip().rstrip(".")
  found = re.findall(r"Size: (\S+).*?(?:Operator: op_name=\"([^\"]*)\"|Shape: (\S+))", message, re.DOTALL)
  largest = "; largest: " + ", ".join(f"{size} {name or shape}" for size, name, shape in found[:3]) if found else ""
  return f"{first}{largest}: {_CHANGE}"


def _capacity(target: Target) -> float | None:
  return None if target.chip is None else target.chip.usable * target.chip.memory / target.devices_per_chip


def _report(engine: str, target: Target, compiled: Any, costs: Mapping[str, float], seconds: float) -> Report:
  devices = target.mesh.size
  stats = compiled.memory_analysis()
  arguments, outputs, aliased, temporary = (
    getattr(stats, f"{kind}_size_in_bytes") for kind in ("argument", "output", "alias", "temp")
  )
  peak = max(stats.peak_memory_in_bytes, arguments + outputs - aliased + temporary)  # CPUs leave temporaries out
  memory = Memory(arguments, outputs, aliased, temporary, peak)
  capacity = _capacity(target)
  fits = None if capacity is None else peak <= capacity
  reason = ""
  if capacity is not None and not fits:
    reason = f"it needs {peak / 2**30:.2f} GiB of {capacity / 2**30:.2f} GiB: {_CHANGE}"
  flops, accessed = costs.get("flops"), costs.get("bytes accessed")
  found = collectives(compiled.as_text(), devices)
  predicted = None if target.chip is None else roofline(target.chip, target.devices_per_chip, flops, accessed, found)
  return Report(
    engine, target.name, devices, fits, reason, capacity, memory, flops, accessed, found, predicted, seconds
  )
