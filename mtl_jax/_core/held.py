"""What JAX makes of a user's numbers: it holds 64-bit numbers in 32 bits, unless told not to, and says nothing."""

from __future__ import annotations

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError


def check_held(what: str, values: np.ndarray, counted: Any = True) -> None:
  """Refuses an array that JAX cannot hold, or whose values it would change: wrap integers, make large floats infinite.

  Args:
    what: The array, for messages, for example `"label 'size'"`.
    values: The array, (N, ...).
    counted: Which values matter, a boolean array of their shape.

  Raises:
    UserError: A dtype that is none of JAX's, or a value that it would change.

  >>> check_held("array 'id'", np.array([1, 2**32 + 1]))
  Traceback (most recent call last):
  ...
  mtl_jax.UserError: array 'id' holds 4294967297 in example 1, which is 1 in JAX's int32: number ids from 0, \
convert measured values to float32, or set jax_enable_x64.
  """
  held = _held_dtype(values.dtype)
  if held is None:
    _check_words(what, values)
    raise UserError(
      f"{what} has dtype {values.dtype}, expected numbers that JAX holds: convert it (for example to float32), encode "
      "it as integers or leave it out."
    )
  if held == values.dtype or not values.size:
    return
  with np.errstate(over="ignore"):
    if jnp.issubdtype(held, jnp.integer):
      bounds = np.iinfo(held)
      if values.min() >= bounds.min and values.max() <= bounds.max:
        return
      changed = ((values < bounds.min) | (values > bounds.max)) & counted
      advice = "number ids from 0, convert measured values to float32"
    else:
      changed = np.isfinite(values) & ~np.isfinite(values.astype(held)) & counted
      advice = "choose another unit"
    if changed.any():
      value = values[np.unravel_index(np.argmax(changed), changed.shape)]
      raise UserError(
        f"{what} holds {value} in example {first_example(changed)}, which is {value.astype(held)} in JAX's {held}: "
        f"{advice}, or set jax_enable_x64."
      )


def _check_words(what: str, values: np.ndarray) -> None:
  """Refuses words and None, in terms of what is to be done about them."""
  entries = [*values.flat] if values.dtype.kind in "OUST" else []
  if any(entry is None for entry in entries):
    raise UserError(
      f"{what} holds None, expected numbers: fill it in; where a label is missing, by 0 and with mask= of the task."
    )
  if word := next((entry for entry in entries if isinstance(entry, str | bytes)), None):
    raise UserError(
      f"{what} holds words such as {str(word)!r}, expected numbers: encode them, "
      "classes, numbers = np.unique(words, return_inverse=True)."
    )


def check_distinct(what: str, values: np.ndarray) -> None:
  """Refuses whole numbers in floats, such as ids, of which two become one in the precision that JAX holds.

  Values with fractions are measured ones, for which rounding is harmless.

  Raises:
    UserError: Two become one.
  """
  held = _held_dtype(values.dtype)
  if held is None or held == values.dtype or not jnp.issubdtype(held, jnp.floating):
    return
  exact = 2.0 ** (jnp.finfo(held).nmant + 1)  # up to here every whole number is a float
  if not values.size or not max(values.max(), -values.min()) > exact or not (values == np.rint(values)).all():
    return
  different = np.unique(values)
  rounded = different.astype(held)
  lost = np.flatnonzero(rounded[1:] == rounded[:-1])
  if lost.size:
    one, other = different[lost[0] : lost[0] + 2]
    raise UserError(
      f"{what} holds {one:.0f} and, in example {first_example(values == other)}, {other:.0f}, which are one number in "
      f"JAX's {held}: store ids as integers, convert measured values to {held} yourself, or set jax_enable_x64."
    )


def first_example(wrong: np.ndarray) -> int:
  """The first example of which anything is wrong."""
  return int(np.unravel_index(np.argmax(wrong), wrong.shape)[0])


def _held_dtype(dtype: np.dtype) -> Any:
  """The dtype that JAX gives an array of `dtype`; None: it takes no such array."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns that it truncates
    try:
      held = jnp.result_type(np.empty(0, dtype))
    except TypeError:
      return None
  return held if jnp.issubdtype(held, jnp.number) or jnp.issubdtype(held, jnp.bool_) else None
