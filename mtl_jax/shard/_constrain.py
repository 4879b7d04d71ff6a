"""Where activations live while the compiler divides a program among devices."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from mtl_jax._core.devices import DATA


def constrain(x: Any) -> Any:
  """Keeps activations divided by examples over the axis `data`; their other axes are left to the compiler.

  With sharded parameters the compiler may otherwise find it cheaper to gather a whole batch of activations on every
  device than the parameters of a layer. The built-in modules call this after each layer; do so in your own.

  Nothing happens without a mesh that is ambient while the program is traced and has an axis `data` of type Auto (that
  of `mtl.fit`, of `mtl.make_train_step(..., mesh=...)`, of `jax.set_mesh`), within `jax.shard_map` and `jax.pmap`
  over `data`, and to arrays whose leading axis that axis does not divide.

  Args:
    x: Activations (B, ...), a pytree.

  Returns:
    The same.

  >>> constrain(jax.numpy.ones((2, 3))).shape
  (2, 3)
  """
  mesh = jax.sharding.get_abstract_mesh()
  if dict(zip(mesh.axis_names, mesh.axis_types, strict=True)).get(DATA) != AxisType.Auto or mesh.shape[DATA] == 1:
    return x

  def one(a: jax.Array) -> jax.Array:
    if a.ndim == 0 or a.shape[0] % mesh.shape[DATA]:
      return a
    return jax.lax.with_sharding_constraint(a, P(DATA, *[P.UNCONSTRAINED] * (a.ndim - 1)))

  return jax.tree.map(one, x)
