"""`check`, validation of a data set on the host, once before training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import check_distinct, check_held
from mtl_jax._core.inputs import Inputs, input_of, keys_read
from mtl_jax.data.arrays import leaves_of
from mtl_jax.data.mixture import as_mixture
from mtl_jax.data.sample import sample
from mtl_jax.tasks import Task


def check(data: Any, tasks: Mapping[str, Task], inputs: Inputs = "x") -> None:
  """Refuses a data set that training would fail on, or worse, learn nonsense from.

  Arrays in memory are looked at whole; of other sources at most 1024 examples, evenly spread, and of a stream the first
  batch.

  Args:
    data: The data set, `{key: (N, ...)}`, entries may be trees of arrays; or whatever else `as_source` and `fit` take.
    tasks: The tasks, each of which checks its own labels, mask and weights.
    inputs: As in `mtl.objective`.

  Raises:
    UserError: No arrays or no examples; arrays of different lengths; an array that does not hold numbers, or holds
      some that JAX would change (integers beyond int32, floats beyond float32, unless `jax_enable_x64` is set); a
      missing input; NaN or infinite values in an input; or labels that their task refuses.

  >>> check({"x": np.ones((3, 2)), "y": np.ones(2)}, {})
  Traceback (most recent call last):
  ...
  mtl_jax.UserError: array 'y' has 2 examples, expected 3 as in 'x': \
where tasks have examples of their own, pass fit(train={task: arrays, ...}).
  """
  mixture = as_mixture(data, tasks, inputs, "the data set")
  if mixture is not None:
    for name, source, some, keys in mixture.parts(tasks, inputs):
      try:
        check(source, some, keys)
      except UserError as error:
        raise UserError(f"source {name!r}: {error}") from error
    return
  arrays, told = sample(data)
  try:
    _check(arrays, tasks, inputs)
  except UserError as error:
    raise UserError(f"{str(error).removesuffix('.')}{told}.") from error if told else None


def _check(arrays: Mapping[str, Any], tasks: Mapping[str, Task], inputs: Inputs) -> None:
  keys = keys_read(inputs)
  check_inputs(arrays, keys)
  # Labels are left to their tasks, since those that do not count may hold anything.
  elsewhere = {*keys, *(key for task in tasks.values() for key in task.checked)}
  for path, values in leaves_of({key: value for key, value in arrays.items() if key not in elsewhere}).items():
    check_held(f"array {path!r}", values)
  for path, values in leaves_of({key: arrays[key] for key in keys}).items():
    _check_finite(path, values)
  for name, task in tasks.items():
    task.check(name, arrays)


def check_inputs(arrays: Mapping[str, Any], keys: Iterable[str]) -> None:
  """Refuses inputs, to train on or to predict from, that are missing or that JAX would change.

  Raises:
    UserError: They are.
  """
  for path, values in leaves_of({key: input_of(arrays, key, "data") for key in keys}).items():
    check_held(f"input {path!r}", values)
    check_distinct(f"input {path!r}", values)


def _check_finite(path: str, values: np.ndarray) -> None:
  if not jnp.issubdtype(values.dtype, jnp.inexact):
    return
  finite = np.isfinite(values).reshape(len(values), -1)
  if not finite.all():
    raise UserError(
      f"input {path!r} has {np.count_nonzero(~finite)} NaN or infinite values, the first in example "
      f"{int(np.argmin(finite.all(axis=1)))}: fill them in or drop those examples."
    )
