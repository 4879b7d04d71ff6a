"""The `auto` engine: the cheapest exact one, chosen when the step is traced."""

from __future__ import annotations

import logging

from mtl_jax._core import devices as _devices
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.serving import needs_gram
from mtl_jax.engine._backward.work import work_of
from mtl_jax.engine._engine import Engine
from mtl_jax.engine.factored import factored
from mtl_jax.engine.linearized import Linearized
from mtl_jax.engine.losses import losses
from mtl_jax.engine.stacked import stacked

# What takes as long as a number on its way to or from memory, in multiplications: two cores reach 75e9 a second and
# 7.5 GB/s, pages new in each step included. Accelerators multiply more in that time.
_A_WAY = 40

_IN_WORDS = {
  "losses": "one backward pass of the weighted losses; the balancer reads nothing else",
  "stacked": "exact, one backward pass per task; keeps the gradients of all tasks, cheapest here",
  "factored": "exact, compares task gradients by the inputs of layers; saves keeping the gradients of all tasks",
}

_log = logging.getLogger("mtl_jax")


def auto(memory: float = 2.0**30) -> Engine:
  r"""Chooses by what the balancer needs, and by counting: `losses`, `stacked` or `factored`, which agree to rounding.

  1. No inner products needed: `losses`. The task gradients themselves needed: `stacked`.
  2. Task gradients of more than `memory`: `factored`, which holds those of one layer at most.
  3. On one device whichever takes less. `factored` saves the kernels' gradients of each task where inner products of
     their factors are cheaper, their multiplications and the way to memory and back, and pays one more backward pass.
  4. On several data-parallel devices whichever sends less: the rows once, or the factors and one more gradient.

  The choice is logged in words, as information of the logger `mtl_jax`, and what was counted for it, as debugging.

  Args:
    memory: Bytes that the task gradients may take on each device.

  Returns:
    The engine. It serves every balancer; it is what `mtl.make_train_step` and `mtl.fit` take when none is named.

  >>> auto().name
  'auto'
  """

  def run(linearized, balancer, balancer_state, state):
    engine, reason = choose(linearized, balancer, memory)
    _log.info("engine: %s (%s)", engine.name, _IN_WORDS[engine.name])
    _log.debug("engine %s: %s", engine.name, reason)
    return engine.run(linearized, balancer, balancer_state, state)

  return Engine("auto", stacked().serves, lambda num_tasks: (), run)


def choose(linearized: Linearized, balancer: Balancer, memory: float) -> tuple[Engine, str]:
  """The engine, and why; `memory` in bytes per device."""
  if "rows" in balancer.needs or balancer.combine is not None:
    return stacked(), "the balancer looks at the task gradients themselves"
  if not needs_gram(balancer):
    return losses(), "the balancer needs no task gradients"
  tasks = sum(len(pullback.cotangents) for pullback in linearized.pullbacks)
  devices = _devices.count() * _devices.shards()
  work = work_of(linearized.pullbacks, balancer.layers)
  held = 4 * tasks * work.parameters / devices
  if held > memory:
    return factored(), f"task gradients of {held / 2**20:.0f} MiB are more than the {memory / 2**20:.0f} MiB allowed"
  if devices > 1:
    once, twice = (tasks + 1) * work.parameters, 2 * work.parameters + tasks * work.rows + work.gathered
    sends = f"{4 * once / 2**20:.1f} MiB for the task gradients, {4 * twice / 2**20:.1f} MiB for their factors"
    return (factored() if twice < once else stacked()), f"devices would send {sends}"
  moved = 3 * tasks * (work.parameters - work.rows)  # written, read for G, read for the weighted sum
  counted = (
    f"factors save {work.saved:.2e} multiplications and {moved:.2e} numbers on their way, and one more backward pass "
    f"takes {work.backward:.2e} multiplications"
  )
  return (factored() if work.saved + _A_WAY * moved > work.backward else stacked()), counted
