"""The Gram matrix of stacked task gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtl_jax._core import devices
from mtl_jax._core.errors import UserError
from mtl_jax._core.pieces import in_pieces

_SLICE = 8192  # columns a product: the slice of all rows stays in cache (3-5x faster on CPU than one product)
_EXACT: Any = {"precision": "highest", "preferred_element_type": jnp.float32}


def gram(rows: Any) -> Float[Array, "T T"]:
  r"""The inner products of stacked gradients, $G = \sum_{leaves} R R^T$, accumulated in float32.

  Complex gradients count as vectors of their real and imaginary parts, $Re \sum_k r_k \bar s_k$: by that product a
  step along the gradient that JAX gives lowers the loss.

  Args:
    rows: A pytree of task gradients stacked along the first axis, leaves (T, ...).

  Returns:
    G, (T, T), float32.

  Raises:
    UserError: There are no leaves.

  >>> gram({"w": jnp.array([[3.0, 4.0], [1.0, 0.0]])}).tolist()
  [[25.0, 3.0], [3.0, 1.0]]
  """
  leaves = jax.tree.leaves(rows)
  if not leaves:
    raise UserError("no parameter is shared, so there are no gradients to balance: use a loss weighter.")
  return functools.reduce(jnp.add, map(leaf_gram, leaves))


def gram_of_each(trees: Sequence[Any]) -> Float[Array, "T T"]:
  """As `gram` of the trees as a stack, which on one CPU device is not made: a slice of it at a time.

  >>> gram_of_each([{"w": jnp.array([3.0, 4.0])}, {"w": jnp.array([1.0, 0.0])}]).tolist()
  [[25.0, 3.0], [3.0, 1.0]]
  """
  if not devices.on_one_cpu():
    return gram(jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees))

  def of_leaf(*each):
    flat = [jnp.ravel(_as_real(x)) for x in each]

    def rows(start, size):
      return (jnp.stack([jax.lax.dynamic_slice_in_dim(x, start, size) for x in flat]),) * 2

    return _by_slices(flat[0].size, (len(flat), len(flat)), rows)

  return functools.reduce(jnp.add, jax.tree.leaves(jax.tree.map(of_leaf, *trees)))


def leaf_gram(leaf: jax.Array) -> Float[Array, "T T"]:
  """One leaf's part of the Gram matrix."""
  return inner_products(leaf, leaf)


def inner_products(left: jax.Array, right: jax.Array, axis: int = 0) -> Float[Array, "S T"]:
  """The inner products of arrays of one shape, accumulated in float32; of complex ones the real part.

  Args:
    left: S arrays, stacked along `axis`.
    right: T arrays.
    axis: 0 for (S, ...) and (T, ...), or 1 for (n, S, ...) and (n, T, ...), on CPU the fastest.

  Returns:
    (S, T).
  """
  left, right = _as_real(left), _as_real(right)
  if not devices.on_one_cpu():
    # No reshape: flattening a sharded leaf gathers it, while this contracts to one (T, T) all-reduce. On TPU the
    # default precision of a float32 product is bfloat16.
    axes = tuple(i for i in range(left.ndim) if i != axis)
    return jnp.tensordot(left, right, axes=(axes, axes), **_EXACT)
  if axis:
    left, right = (x.reshape(*x.shape[:2], -1) for x in (left, right))
    return jnp.einsum("nsx,ntx->nst", left, right, **_EXACT).sum(axis=0)
  flat = left.reshape(left.shape[0], -1), right.reshape(right.shape[0], -1)

  def rows(start, size):
    return tuple(jax.lax.dynamic_slice_in_dim(x, start, size, axis=1) for x in flat)

  return _by_slices(flat[0].shape[1], (left.shape[0], right.shape[0]), rows)


def _as_real(x: jax.Array) -> jax.Array:
  """Real and imaginary parts along a last axis; real arrays as they are."""
  return jnp.stack([x.real, x.imag], axis=-1) if jnp.iscomplexobj(x) else x


def _by_slices(
  columns: int, shape: tuple[int, int], rows: Callable[[Any, int], tuple[jax.Array, ...]]
) -> Float[Array, "S T"]:
  """The sum of the inner products of slices; `rows(start, size)` gives both sides, (S, size) and (T, size)."""

  def add(start, size, total):
    left, right = rows(start, size)
    return total + jnp.matmul(left, right.T, **_EXACT)

  return in_pieces(columns, min(columns, _SLICE), add, jnp.zeros(shape, jnp.float32))
