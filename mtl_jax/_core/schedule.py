"""Numbers that may follow the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def at_step(given: float | Callable[[Any], Any], step: Any) -> Any:
  """A number as it is, or what a function of the steps taken, such as a schedule of optax, gives for them.

  >>> at_step(0.5, 3), at_step(lambda step: 2 * step, 3)
  (0.5, 6)
  """
  if not callable(given):
    return given
  with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
    return given(step)
