"""The rows of the Jacobian: one gradient of the shared parameters a task."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.packed import stack
from mtl_jax.engine._scatter import scattered
from mtl_jax.engine.linearized import Linearized, in_place, in_task_order


def takes_turns() -> bool:
  """Whether backward passes of several tasks should run in turn rather than as one batch, where that is not said.

  On CPU that is faster. A compiler that divides the program among devices divides a convolution, but not a batch of
  them: each device then computes the whole batch (v5e:16x16: 33 times the FLOPs).
  """
  return devices.platform() == "cpu" or devices.is_divided()


def rows(linearized: Linearized, *, one_by_one: bool) -> Any:
  """The task gradients of the shared parameters in the tasks' order, leaves (T, ...), `scattered` over devices.

  Args:
    linearized: The objective after its forward pass.
    one_by_one: Pull the cotangents back one after the other rather than as one batch. Slower to compile, on CPU faster
      to run, and activations of one task live at a time instead of those of all. Tasks with forward passes of their
      own that are alike are one batch nevertheless: it costs what one backward pass costs.
  """
  pullbacks, order = linearized.pullbacks, in_task_order(linearized.pullbacks)
  if one_by_one and not any(pullback.many for pullback in pullbacks):
    each = [scattered(gradient) for pullback in pullbacks for gradient in pullback.each()]
    return stack([each[i] for i in order])
  parts = [scattered(pullback.batch(in_turn=one_by_one), 1) for pullback in pullbacks]
  whole = parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
  return whole if in_place(order) else jax.tree.map(lambda leaf: leaf[order], whole)
