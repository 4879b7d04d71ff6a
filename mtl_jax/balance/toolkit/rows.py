"""Trees of stacked task gradients, for the methods that remember or rescale them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError


def memory(method: str, num_tasks: int, shared: Any) -> Any:
  """Zeros like the task gradients of the shared parameters, leaves (T, ...), float32 at least.

  Raises:
    UserError: No shared parameters are given, or there are none.
  """
  if not jax.tree.leaves(shared):
    raise UserError(f"{method}: it remembers task gradients, expected shared parameters in init(num_tasks, shared).")
  return jax.tree.map(lambda p: jnp.zeros((num_tasks, *p.shape), wide(p.dtype)), shared)


def wide(dtype: Any) -> Any:
  """The dtype, or float32 where it is narrower: sums of gradients lose what is below their rounding."""
  return dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32


def column(values: jax.Array, leaf: jax.Array) -> jax.Array:
  """One value per task, (T,), in the dtype and rank of a leaf (T, ...)."""
  return behind(values, leaf.ndim).astype(leaf.dtype)


def across(leaf: jax.Array) -> tuple[int, ...]:
  """The axes of a leaf (T, ...) but for that of the tasks."""
  return tuple(range(1, leaf.ndim))


def row_norms(rows: Any) -> jax.Array:
  """The lengths of the task gradients, (T,), at any scale that float32 holds.

  >>> row_norms({"w": jnp.array([[3e-30, 4e-30], [3e30, 4e30]])}).tolist()
  [5e-30, 5e+30]
  """
  leaves = [leaf.astype(wide(leaf.dtype)) for leaf in jax.tree.leaves(rows)]
  largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), axis=across(leaf), initial=0.0) for leaf in leaves]), axis=0)
  unit = jnp.where(largest > 0, largest, 1.0)
  squares = [jnp.sum(jnp.square(jnp.abs(leaf / column(unit, leaf))), axis=across(leaf)) for leaf in leaves]
  return jnp.sqrt(jnp.sum(jnp.stack(squares), axis=0)) * unit


def check_real(method: str, rows: Any, why: str) -> None:
  """Raises a `UserError` where a gradient is complex, for methods that have no meaning there."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(rows):
    if jnp.iscomplexobj(leaf):
      name = jax.tree_util.keystr(path, simple=True, separator="/")
      raise UserError(
        f"{method}: the gradient of {name} is complex and {why}, expected real gradients: use a Gram method such as "
        "pcgrad, or parameters that hold real and imaginary parts."
      )


def in_dtypes_of(rows: Any, update: Any) -> Any:
  """An update made from remembered gradients, in the dtypes of the gradients."""
  return jax.tree.map(lambda r, u: u.astype(r.dtype), rows, update)
