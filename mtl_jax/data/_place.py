"""Rows of a batch read where they are needed and put where they belong: trees of any kind, one or several processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

Part = tuple[int, int]
"""Rows of a batch, from the first up to the second."""


def batch_of(spec: Any, size: int) -> Any:
  """The shapes of a batch of `size` examples."""
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype), spec)


def parts_of(shapes: Any, sharding: Any) -> list[Part]:
  """The rows of a batch that the devices of this process hold, each range once.

  Args:
    shapes: Those of the batch, leaves (B, ...).
    sharding: A sharding; or a device, or None, for the whole batch.
  """
  shape = jax.tree.leaves(shapes)[0].shape
  if not _is_divided(sharding):
    return [(0, shape[0])]
  # Devices that differ in other axes than that of the examples hold the same rows.
  return sorted({_rows(index, shape) for index in sharding.addressable_devices_indices_map(shape).values()})


def place(parts: Mapping[Part, Any], shapes: Any, sharding: Any) -> Any:
  """The batch, of the rows that `parts_of` names.

  Args:
    parts: The trees of those rows, numpy arrays.
    shapes: Those of the batch, leaves (B, ...).
    sharding: A sharding or device; None: the numpy arrays themselves.
  """
  if not _is_divided(sharding):
    (batch,) = parts.values()
    return batch if sharding is None else jax.device_put(batch, sharding)

  def placed(leaf: Any, *found: Any) -> Any:
    rows: dict[Part, Any] = dict(zip(parts, found, strict=True))

    def own(index: Any) -> Any:
      return rows[_rows(index, leaf.shape)][:, *index[1:]]

    # device_put would compare the batch between processes, a collective that may not run beside the step's.
    return jax.make_array_from_callback(leaf.shape, sharding, own)

  return jax.tree.map(placed, shapes, *parts.values())


def _is_divided(sharding: Any) -> bool:
  return isinstance(sharding, jax.sharding.Sharding) and not sharding.is_fully_addressable


def _rows(index: Any, shape: tuple[int, ...]) -> Part:
  start, stop, _ = index[0].indices(shape[0])
  return start, stop
