"""What options of functions and commands may be, in one table, so that each is checked in the same way everywhere."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError, nearest

_LEAST = {
  "steps": 1,
  "batch_size": 1,
  "accumulate": 1,
  "eval_every": 1,
  "checkpoint_every": 1,
  "keep": 1,
  "log_every": 1,
  "patience": 1,
  "seeds": 1,
  "jobs": 1,
  "worker": 0,
  "seed": 0,
  "num_processes": 1,
  "process_id": 0,
  "max_batch_size": 1,
  "queue": 1,
  "max_bytes": 1,
  "port": 0,
  "begin": 0,
  "end": 1,
  "every": 1,
  "best_from": 0,
}
# JAX makes a key of 32 bits, so greater seeds would repeat the runs of smaller ones.
_MOST = {"seed": 2**32 - 1, "port": 65535}
_ABOVE_ZERO = (lambda value: 0 < value < math.inf, "above 0 and finite")
_NOT_BELOW_ZERO = (lambda value: 0 <= value < math.inf, "at least 0 and finite")
_SHARE = (lambda value: 0 <= value < 1, "a share of at least 0 and below 1")
_UP_TO_ONE = (lambda value: 0 <= value <= 1, "from 0 to 1")
_REAL = {
  **dict.fromkeys(("learning_rate", "timeout", "temperature"), _ABOVE_ZERO),
  "max_wait_ms": _NOT_BELOW_ZERO,
  **dict.fromkeys(("prune", "sparsity"), _SHARE),
  **dict.fromkeys(("teacher_weight", "weight"), _UP_TO_ONE),
}
"""What other numbers must be: whether one is, and in words."""


def check_numbers(options: Mapping[str, Any]) -> None:
  """Refuses numbers that are out of range or of another kind.

  Args:
    options: Values by name, spelled as in Python or as on the command line. None is no value, and names that are not
      in the tables above are not looked at.

  Raises:
    UserError: A value out of range.

  >>> check_numbers({"--batch-size": 0})
  Traceback (most recent call last):
  ...
  mtl_jax.UserError: --batch-size is 0, expected at least 1.
  """
  for option, value in options.items():
    name = option.lstrip("-").replace("-", "_")
    if value is None:
      continue
    if name in _LEAST:
      _check_whole(option, value, _LEAST[name], _MOST.get(name, math.inf))
    if name in _REAL:
      fits, told = _REAL[name]
      if not (_is(value, numbers.Real) and fits(value)):
        raise UserError(f"{option} is {value!r}, expected {told}.")


def _check_whole(option: str, value: Any, least: int, most: float) -> None:
  if not _is(value, numbers.Integral):
    raise UserError(f"{option} is {value!r}, expected a whole number of at least {least}.")
  if value < least:
    raise UserError(f"{option} is {value}, expected at least {least}.")
  if value > most:
    raise UserError(f"{option} is {value}, expected at most {most}.")


def _is(value: Any, kind: type) -> bool:
  return isinstance(value, kind) and not isinstance(value, bool)  # True is an int to Python


def check_once(option: str, names: Sequence[str]) -> None:
  """Raises a `UserError` where a name is given twice, since results are kept by name.

  >>> check_once("--tasks", ("left", "right"))
  """
  for name in names:
    if names.count(name) > 1:
      raise UserError(f"{option}: {name!r} is named {names.count(name)} times, expected once.")


def check_compute_dtype(dtype: Any) -> None:
  """Refuses what a network cannot be trained in.

  Raises:
    UserError: No dtype; not floating point; of a smaller range than float32, since gradients would vanish without
      scaling of the loss; or 64 bits, while JAX has them turned off.

  >>> check_compute_dtype("bfloat16")
  """
  if dtype is None:
    return
  try:
    found = jnp.dtype(dtype)
  except TypeError as error:
    known = ("bfloat16", "float32", "float64")
    raise UserError(
      f"unknown compute_dtype {dtype!r}{nearest(str(dtype), known)}: take bfloat16 or float32."
    ) from error
  if not jnp.issubdtype(found, jnp.floating):
    raise UserError(f"compute_dtype is {found}, expected floating-point numbers: take bfloat16 or float32.")
  if jnp.finfo(found).minexp > jnp.finfo(jnp.bfloat16).minexp or jnp.finfo(found).nmant < jnp.finfo(jnp.bfloat16).nmant:
    raise UserError(f"compute_dtype is {found}, in which small gradients vanish: take bfloat16, as wide as float32.")
  if jax.dtypes.canonicalize_dtype(found) != found:
    raise UserError(f"compute_dtype is {found}, but 64 bits are off in JAX: turn on jax_enable_x64 or take float32.")
