"""How much each task counts, an option of several Gram balancers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError

Preference: TypeAlias = Sequence[float] | jax.typing.ArrayLike | None


def stateless_with(of: Callable[..., jax.Array]) -> Callable[[int], tuple[()]]:
  """The `init` of a method without memory whose preference must suit the number of tasks."""

  def init(num_tasks):
    of(num_tasks)
    return ()

  return init


def preferences(method: str, preference: Preference) -> Callable[..., jax.Array]:
  """The function `(num_tasks, present=None) -> (T,)` of a method's option `preference`; None: 1 / T each.

  With `present`, (T,) bool, T counts the tasks present, and the preference of the others is 0.

  Raises:
    UserError: Negative or no positive entries; from the function: another number of entries than of tasks.

  >>> preferences("upgrad", None)(2).tolist()
  [0.5, 0.5]
  """
  given = None if preference is None else np.asarray(preference, np.float64)
  if given is not None:
    if given.ndim != 1 or not np.all(np.isfinite(given)):
      raise UserError(f"{method}: preference is {preference}, expected one number per task.")
    if given.min(initial=0.0) < 0 or given.max(initial=0.0) == 0:
      raise UserError(
        f"{method}: preference is {given.tolist()}, expected no negative and at least one positive entry."
      )

  def of(num_tasks, present=None):
    if given is not None and len(given) != num_tasks:
      raise UserError(f"{method}: preference has {len(given)} entries, expected {num_tasks}, one per task.")
    full = jnp.ones(num_tasks) if given is None else jnp.asarray(given, jnp.result_type(float))
    if present is not None:
      full = jnp.where(present, full, 0.0)
    return full / jnp.maximum(jnp.sum(full), 1.0) if given is None else full

  return of
