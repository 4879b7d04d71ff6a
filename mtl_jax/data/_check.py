"""`check`, validation of a data set on the host, once before training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax._errors import UserError, nearest
from mtl_jax.tasks._task import Task


def check(arrays: Mapping[str, Any], tasks: Mapping[str, Task], inputs: str | Mapping[str, str] = "x") -> None:
  """Refuses a data set that training would fail on, or worse, learn nonsense from.

  Args:
    arrays: The whole data set, `{key: (N, ...)}`.
    tasks: The tasks, each of which checks its own labels and mask.
    inputs: The key of the arrays that holds the input, or `{task: key}`.

  Raises:
    UserError: No arrays or no examples; arrays of different lengths; an array that does not hold numbers; a missing
      input; NaN or infinite values in an input; or labels that their task refuses.

  >>> check({"x": np.ones((3, 2)), "y": np.ones(2)}, {})
  Traceback (most recent call last):
  ...
  mtl_jax._errors.UserError: array 'y' has 2 examples, expected 3 as in 'x'.
  """
  arrays = {key: np.asarray(value) for key, value in arrays.items()}
  check_lengths(arrays)
  for key, values in arrays.items():
    if values.dtype.hasobject or values.dtype.kind in "SUmM":
      raise UserError(
        f"array {key!r} has dtype {values.dtype}, expected numbers: convert it, encode it as integers or leave it out."
      )
  for key in dict.fromkeys([inputs] if isinstance(inputs, str) else inputs.values()):
    _check_input(key, arrays)
  for name, task in tasks.items():
    task.check(name, arrays)


def check_lengths(arrays: Mapping[str, np.ndarray]) -> int:
  """The number of examples, at least 1 and the same in all arrays.

  Raises:
    UserError: It is not, or there are no arrays.
  """
  if not arrays:
    raise UserError("the data set holds no arrays, expected {key: array of N examples}.")
  first = next(iter(arrays))
  for key, values in arrays.items():
    if values.ndim == 0:
      raise UserError(f"array {key!r} is a scalar, expected one entry an example, (N, ...).")
    if len(values) != len(arrays[first]):
      raise UserError(f"array {key!r} has {len(values)} examples, expected {len(arrays[first])} as in {first!r}.")
  if len(arrays[first]) == 0:
    raise UserError(f"the data set is empty: array {first!r} has shape {arrays[first].shape}, expected examples.")
  return len(arrays[first])


def _check_input(key: str, arrays: Mapping[str, np.ndarray]) -> None:
  if key not in arrays:
    raise UserError(
      f"the data has no input {key!r}, only {', '.join(map(repr, arrays))}{nearest(key, arrays)}: "
      "set inputs= to the key that holds the input."
    )
  values = arrays[key]
  if not jnp.issubdtype(values.dtype, jnp.inexact):
    return
  finite = np.isfinite(values).reshape(len(values), -1)
  if not finite.all():
    raise UserError(
      f"input {key!r} has {np.count_nonzero(~finite)} NaN or infinite values, the first in example "
      f"{int(np.argmin(finite.all(axis=1)))}: fill them in or drop those examples."
    )
