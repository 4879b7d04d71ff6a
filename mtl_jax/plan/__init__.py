"""Planning: the train step compiled for accelerators that are not here, and what it would need of them.

- `plan`: the step of `mtl.fit` for a topology such as `v5e:4x4`, with one or several engines.
- `plan_step`: any other train step.
- `open_topology`: the devices of a topology, a `Target`.
- `table`: the reports as a table to print.

What they return, and what it rests on:

- `Report`, `Memory`, `Roofline`: what a step needs, its memory by kind, its predicted time.
- `Collective`, `collectives`: what devices send to each other, read off a compiled program.
- `Chip`, `chip`: the public figures of a chip.
"""

from mtl_jax.plan._chips import Chip, chip
from mtl_jax.plan._collectives import Collective, collectives
from mtl_jax.plan._plan import plan
from mtl_jax.plan._report import Memory, Report, Roofline
from mtl_jax.plan._step import plan_step
from mtl_jax.plan._table import table
from mtl_jax.plan._topology import Target, open_topology

__all__ = [
  "Chip",
  "Collective",
  "Memory",
  "Report",
  "Roofline",
  "Target",
  "chip",
  "collectives",
  "open_topology",
  "plan",
  "plan_step",
  "table",
]
