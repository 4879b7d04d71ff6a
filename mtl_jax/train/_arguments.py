"""What `fit` is given, looked at before anything is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from mtl_jax import shard
from mtl_jax._core.errors import UserError


def check_needs(what: str, given: Any, options: Mapping[str, Any]) -> None:
  """Raises a `UserError` for options that are set in vain, since the option `what` is not given."""
  for name, value in options.items():
    if given is None and value not in (None, False):
      raise UserError(f"{name} is given, but does nothing without {what}: pass {what}=, too.")


def check_mesh(batch_size: int, mesh: Any, rules: Any, accumulate: int) -> None:
  """Raises a `UserError` where the batch cannot be divided over devices and pieces, or the mesh is none."""
  if not isinstance(mesh, jax.sharding.Mesh | None):
    raise UserError(f"mesh is {mesh!r}, expected a mesh of devices: mtl.make_mesh('data=-1'), for example.")
  if mesh is None and jax.process_count() > 1:
    raise UserError("several processes need a mesh of their devices: pass mesh=mtl.make_mesh('data=-1'), for example.")
  if mesh is None and rules is not None:
    raise UserError("rules need a mesh of devices: pass mesh=mtl.make_mesh('data=-1'), for example.")
  devices = 1 if mesh is None else shard.batch_sharding(mesh).mesh.shape["data"]
  if batch_size % (devices * accumulate):
    raise UserError(
      f"batch_size {batch_size} cannot be split over {devices} devices x {accumulate} pieces: "
      f"choose a multiple of {devices * accumulate}."
    )
