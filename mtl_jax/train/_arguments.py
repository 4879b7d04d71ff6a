"""What `fit` is given, looked at before anything is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax import shard
from mtl_jax._core.errors import UserError
from mtl_jax._core.inputs import Inputs, Keys, initial_input, input_keys, input_of, keys_read
from mtl_jax._core.named import described
from mtl_jax._core.shapes import shapes
from mtl_jax.data.arrays import leaves_of
from mtl_jax.data.mixture import Mixture
from mtl_jax.data.sample import spec_of
from mtl_jax.net import Net
from mtl_jax.tasks import Task


def check_needs(what: str, given: Any, options: Mapping[str, Any]) -> None:
  """Raises a `UserError` for options that are set in vain, since the option `what` is not given."""
  for name, value in options.items():
    if given is None and value not in (None, False):
      raise UserError(f"{name} is given, but does nothing without {what}: pass {what}=, too.")


def check_optimizer(tx: Any) -> None:
  """Raises a `UserError` for what is no optimizer of optax.

  >>> check_optimizer(1e-3)
  Traceback (most recent call last):
  ...
  mtl_jax.UserError: tx is 0.001, expected an optimizer of optax, such as optax.adam(1e-3).
  """
  if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
    raise UserError(f"tx is {described(tx)}, expected an optimizer of optax, such as optax.adam(1e-3).")


def check_functions(options: Mapping[str, Any]) -> None:
  """Raises a `UserError` for options that are neither functions nor None."""
  for name, value in options.items():
    if not (value is None or callable(value)):
      raise UserError(f"{name} is {described(value)}, expected a function: see help(mtl.fit).")


def check_alike(net: Net, tasks: Mapping[str, Task], inputs: Inputs, train: Any, valid: Any) -> None:
  """Raises a `UserError` for validation inputs that a net for the training inputs cannot take.

  Args:
    net: The net.
    tasks: Its tasks.
    inputs: As in `mtl.objective`.
    train: The training data.
    valid: The validation data.
  """
  if not isinstance(train, Mixture) and not isinstance(valid, Mixture):
    _check_one("valid", net, tasks, inputs, spec_of(train), spec_of(valid))
    return
  before, now = ((found.tasks if isinstance(found, Mixture) else {}) for found in (train, valid))
  if before != now:
    told = " and ".join(", ".join(map(repr, found)) or "none" for found in (before, now))
    raise UserError(f"train and valid have other sources ({told}): give both as {{task: data}}, or neither.")
  for name, source, some, keys in train.parts(tasks, inputs):
    _check_one(f"valid, source {name!r}", net, some, keys, spec_of(source), spec_of(valid.sources[name]))


def _check_one(
  what: str, net: Net, tasks: Mapping[str, Task], inputs: Inputs, train: Mapping[str, Any], valid: Mapping[str, Any]
) -> None:
  wanted, found = (leaves_of({key: input_of(spec, key) for key in keys_read(inputs)}) for spec in (train, valid))
  for path, leaf in wanted.items():
    if path not in found or _kind(found[path]) != _kind(leaf):
      now = f"of dtype {found[path].dtype}" if path in found else "not there"
      raise UserError(f"{what}: input {path!r} is {now}, expected {leaf.dtype} as in train: prepare both alike.")
  others = [path for path, leaf in wanted.items() if found[path].shape != leaf.shape]
  if others and not _takes(net, input_keys(tasks, inputs), train, valid):
    now, before = (", ".join(map(str, ("N", *leaves[others[0]].shape))) for leaves in (found, wanted))
    raise UserError(f"{what}: input {others[0]!r} has shape ({now}), expected ({before}) as in train.")


def _kind(leaf: Any) -> Any:
  return next(kind for kind in (jnp.bool_, jnp.integer, jnp.inexact, object) if jnp.issubdtype(leaf.dtype, kind))


def _takes(net: Net, keys: Mapping[str, Keys], train: Mapping[str, Any], valid: Mapping[str, Any]) -> bool:
  """Whether a net made for the training data takes the validation data; some take images or texts of any size."""

  def batch(spec):
    return jax.tree.map(lambda s: jnp.zeros((2, *s.shape), jax.dtypes.canonicalize_dtype(s.dtype)), dict(spec))

  def run(key):
    params, state = net.init(key, initial_input(keys, lambda task: batch(train)))
    return [net.apply(params, state, input_of(batch(valid), own))[0] for own in dict.fromkeys(keys.values())]

  try:
    shapes(run, jax.eval_shape(lambda: jax.random.key(0)))
  except Exception:  # whatever the net says to shapes that it was not made for
    return False
  return True


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
