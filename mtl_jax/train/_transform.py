"""`transforming`, a training step whose batches are first changed at random, on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError, some
from mtl_jax._core.packed import is_packed, packed
from mtl_jax.data.arrays import leaves_of
from mtl_jax.train._state import TrainState

Transform = Callable[[dict[str, Any], jax.Array], Mapping[str, Any]]
"""`transform(batch, key) -> batch`, JAX code; dtypes may change, keys and shapes may not."""

_Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, Any]]]


def transforming(step: _Step, transform: Transform | None, sharding: Any) -> _Step:
  """The step on transformed batches; itself without a transform.

  Args:
    step: A pure training step.
    transform: `transform(batch, key) -> batch`. Step n has a key that depends on the state's key and n alone, other
      than the keys that the step itself draws from.
    sharding: Where the transformed batch lives.

  Returns:
    The step; while it is traced it raises a `UserError` where the transform changes keys or shapes, or returns no
    dictionary.
  """
  if transform is None:
    return step

  def transformed(state, batch):
    # The step itself draws from fold_in(key, n), with n in int32: this number is none of them.
    key = jax.random.fold_in(jax.random.fold_in(state.key, np.uint32(2**32 - 1)), state.step)
    found = transform(dict(batch), key)
    _check(batch, found)
    groups, axis = (batch.groups, batch.axis) if is_packed(batch) else ([], 0)
    return step(state, jax.lax.with_sharding_constraint(packed(dict(found), groups, axis), sharding))

  return transformed


def _check(batch: Mapping[str, Any], found: Any) -> None:
  if not isinstance(found, Mapping):
    raise UserError(f"transform returned a {type(found).__name__}, expected the batch, a dictionary of arrays.")
  before, after = ({path: np.shape(leaf) for path, leaf in leaves_of(entries).items()} for entries in (batch, found))
  changed = [
    f"{path!r} from {before.get(path, 'nothing')} to {after.get(path, 'nothing')}"
    for path in before | after
    if before.get(path) != after.get(path)
  ]
  if changed:
    raise UserError(
      f"transform changed {some(changed)}: it must keep the keys and shapes of the batch, for which the net was made."
    )
