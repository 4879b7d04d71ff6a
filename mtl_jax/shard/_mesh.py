"""Meshes of devices from one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax

from mtl_jax._core.errors import UserError


def make_mesh(spec: str, devices: Sequence[Any] | None = None) -> jax.sharding.Mesh:
  """A mesh of devices from a line like `data=8` or `data=4,model=2`.

  Args:
    spec: Axes and their sizes, the first outermost; one size may be -1: all devices that the others leave.
    devices: The devices; None: all of this job, over all processes.

  Returns:
    The mesh, its axes of type Auto: the compiler propagates shardings from those of the arguments.

  Raises:
    UserError: A line of another form, or sizes that do not multiply to the number of devices.

  >>> make_mesh("data=1").shape["data"]
  1
  """
  devices = jax.devices() if devices is None else list(devices)
  axes: dict[str, int] = {}
  for part in spec.split(","):
    name, _, size = part.strip().partition("=")
    if not name.isidentifier() or not size.lstrip("-").isdigit() or name in axes:
      raise UserError(f"mesh {spec!r}: found {part.strip()!r}, expected axes like data=4,model=2, each once.")
    axes[name] = int(size)
  sizes = list(axes.values())
  if sizes.count(-1) > 1 or any(size < 1 for size in sizes if size != -1):
    raise UserError(f"mesh {spec!r}: sizes must be at least 1, and at most one of them -1.")
  given = math.prod(size for size in sizes if size != -1)
  if (-1 in sizes and len(devices) % given) or (-1 not in sizes and given != len(devices)):
    product = " x ".join(f"{name} {size}" for name, size in axes.items() if size != -1)
    raise UserError(f"mesh {spec!r}: {product} is {given}, but there are {len(devices)} devices.")
  shape = tuple(len(devices) // given if size == -1 else size for size in sizes)
  types = (jax.sharding.AxisType.Auto,) * len(axes)
  return jax.make_mesh(shape, tuple(axes), axis_types=types, devices=devices)
