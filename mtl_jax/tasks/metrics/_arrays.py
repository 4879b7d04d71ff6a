"""What metrics read: labels and weights as arrays; and sums divided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError


def ratio(numerator: Any, denominator: Any, empty: float = jnp.nan) -> jax.Array:
  """The quotient, `empty` where the denominator is not positive."""
  return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1.0), empty)


def as_weights(mask: Any) -> jax.Array:
  """Weights as float32."""
  return jnp.asarray(mask).astype(jnp.float32)


def as_array(label: Any) -> jax.Array:
  """The label as one array, or one clear line where it is a dictionary, such as the whole batch."""
  if isinstance(label, Mapping):
    found = ", ".join(map(repr, label))
    raise UserError(
      f"a metric got a dictionary of {found} for a label, expected one array: tell the task which entry its metrics "
      "read, for example label=lambda batch: batch['y']."
    )
  return jnp.asarray(label)


def columns(array: Any) -> Any:
  """Labels, scores or weights as (B, K), a column per entry of an example; (B,) as one column."""
  return jnp.reshape(array, (jnp.shape(array)[0], -1))
