"""Where the program being traced will run, read off JAX's ambient mesh.

One convention serves the whole library: the axis `data` of a mesh holds the examples of a batch, every other axis
holds parts of the model. A step is written either for all devices at once (`jax.jit`, the compiler divides the work) or
for one of them (`jax.shard_map`, `jax.pmap` with `axis_name="data"`), where `data` is a manual axis and sums over
devices are explicit.
"""

from __future__ import annotations

import contextlib
from typing import Any

import jax

DATA = "data"


def on(mesh: jax.sharding.Mesh | None) -> contextlib.AbstractContextManager[Any]:
  """Makes `mesh` the ambient mesh while a program is traced; None leaves the one that is."""
  return contextlib.nullcontext() if mesh is None else jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def platform() -> str:
  """`cpu`, `gpu` or `tpu`: that of the ambient mesh, else of JAX's default backend."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  if device is None:
    return jax.default_backend()
  return "gpu" if device.platform in ("cuda", "rocm") else device.platform


def is_divided() -> bool:
  """Whether the compiler divides the program's arrays among devices, as far as that can be known."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return jax.device_count() > 1  # a step jitted over a mesh that nobody has told us of
  return any(size > 1 for axis, size in mesh.shape.items() if axis not in mesh.manual_axes)


def is_local() -> bool:
  """Whether the program is written for one device of the axis `data`, with explicit sums over them."""
  return DATA in jax.sharding.get_abstract_mesh().manual_axes


def on_one_cpu() -> bool:
  """Whether the program runs on a single CPU device, where arrays may be flattened and sliced as suits the caches."""
  return platform() == "cpu" and not is_divided() and not is_local()


def shards() -> int:
  """The devices that the compiler divides the axis `data` among; 1 without such an axis."""
  mesh = jax.sharding.get_abstract_mesh()
  return 1 if mesh.empty or is_local() else mesh.shape.get(DATA, 1)


def largest_dimension(shape: tuple[int, ...], devices: int) -> int | None:
  """The largest dimension that so many devices divide, the first of several; None: they divide none.

  >>> largest_dimension((6, 8, 9), 2), largest_dimension((3, 5), 2)
  (1, None)
  """
  dimensions = [i for i, size in enumerate(shape) if size and size % devices == 0]
  return max(dimensions, key=lambda i: shape[i], default=None)


def total(tree: Any) -> Any:
  """Sums what the devices of the axis `data` have, in a program for one of them; else the tree as it is."""
  return jax.lax.psum(tree, DATA) if is_local() else tree


def gather(tree: Any) -> Any:
  """What all devices of the axis `data` have, one after the other along the first axis of each array."""
  return jax.tree.map(lambda x: jax.lax.all_gather(x, DATA, tiled=True), tree) if is_local() else tree


def count() -> int:
  """How many devices such a sum is over; 1 in a program for all of them."""
  return jax.lax.axis_size(DATA) if is_local() else 1


def varying(tree: Any) -> Any:
  """Each device's own copy of what all have alike, so that gradients with respect to it are each device's own.

  JAX sums gradients with respect to values that it knows to be the same on all devices.
  """
  return jax.tree.map(lambda x: jax.lax.pcast(x, DATA, to="varying"), tree) if is_local() else tree
