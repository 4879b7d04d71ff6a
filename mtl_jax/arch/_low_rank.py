"""Low-rank updates of the kernels of a trunk, in the space of its parameters: so any trunk will do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError, some
from mtl_jax._core.paths import by_path

Kernels = dict[str, tuple[int, int]]
"""By the paths of kernels their sides as matrices, `(in, out)`."""

_Factors = Mapping[str, Mapping[str, jax.Array]]


def kernels_in(arch: str, params: Any, pattern: str) -> Kernels:
  """The arrays of at least two axes whose paths the pattern matches. As a matrix, a kernel has its last axis as `out`.

  Raises:
    UserError: The pattern is no regular expression.
  """
  try:
    found = {path: leaf for path, leaf in by_path(params).items() if leaf.ndim > 1 and re.search(pattern, path)}
  except re.error as error:
    raise UserError(f"{arch}: kernels is {pattern!r}, which is no regular expression: {error}.") from error
  return {path: (leaf.size // leaf.shape[-1], leaf.shape[-1]) for path, leaf in found.items()}


def check_kernels(arch: str, params: Any, pattern: str) -> Kernels:
  """As `kernels_in`, but none is a `UserError`."""
  found = kernels_in(arch, params, pattern)
  if not found:
    raise UserError(
      f"{arch}: no kernel of the trunk matches {pattern!r}: choose another regular expression, kernels=..., for "
      f"{some(by_path(params)) or 'a trunk with parameters'}."
    )
  return found


def down(key: jax.Array, width: int, rank: int) -> jax.Array:
  """The first factor A, (width, rank), uniform in the range that PyTorch's linear layers start with."""
  return jax.random.uniform(key, (width, rank), minval=-(width**-0.5), maxval=width**-0.5)


def factors(key: jax.Array, kernels: Kernels, rank: int) -> dict[str, dict[str, jax.Array]]:
  """For each kernel A at random, (in, rank), and B = 0, (rank, out)."""
  keys = jax.random.split(key, len(kernels))
  return {
    path: {"a": down(own, width, rank), "b": jnp.zeros((rank, out))}
    for own, (path, (width, out)) in zip(keys, kernels.items(), strict=True)
  }


def updates(factors: _Factors, scale: float) -> dict[str, jax.Array]:
  """The update of each kernel, s A B."""
  return {path: scale * (own["a"] @ own["b"]) for path, own in factors.items()}


def updated(params: Any, *updates: Mapping[str, jax.Array]) -> Any:
  """The parameters with updates, (in, out), added to their kernels."""

  def one(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    for found in updates:
      if name in found:
        leaf = leaf + found[name].astype(leaf.dtype).reshape(leaf.shape)
    return leaf

  return jax.tree_util.tree_map_with_path(one, params)
