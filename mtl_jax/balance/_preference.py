"""How much each task counts, an option of several Gram balancers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._errors import UserError

Preference: TypeAlias = Sequence[float] | jax.typing.ArrayLike | None


def stateless_with(of: Callable[[int], jax.Array]) -> Callable[[int], tuple[()]]:
  """The `init` of a method without memory whose preference must suit the number of tasks."""

  def init(num_tasks):
    of(num_tasks)
    return ()

  return init


def preferences(method: str, preference: Preference) -> Callable[[int], jax.Array]:
  """The function `num_tasks -> (T,)` of a method's option `preference`; None: 1 / T each.

  Raises:
    UserError: Negative or no positive entries; from the function: another number of entries than of tasks.

  >>> preferences("upgrad", None)(2).tolist()
  [0.5, 0.5]
  """
  given = None if preference is None else np.asarray(preference, np.float64)
  if given is not None:
    if given.ndim != 1 or not np.all(np.isfinite(given)):
      raise UserError(f"{method}: preference is {preference}, expected one number a task.")
    if given.min(initial=0.0) < 0 or given.max(initial=0.0) == 0:
      raise UserError(
        f"{method}: preference is {given.tolist()}, expected no negative and at least one positive entry."
      )

  def of(num_tasks):
    if given is None:
      return jnp.full(num_tasks, 1.0 / num_tasks)
    if len(given) != num_tasks:
      raise UserError(f"{method}: preference has {len(given)} entries, expected {num_tasks}, one a task.")
    return jnp.asarray(given, jnp.result_type(float))

  return of
