"""What a run keeps of its training data and optimizer, so that it does not go on with others unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.frozen import Frozen, split_frozen
from mtl_jax._jaxpr.digest import digest
from mtl_jax.data import fingerprint
from mtl_jax.train._finish import update


def fingerprint_of(train: Any, tx: optax.GradientTransformation, params: Any, frozen: Frozen) -> dict[str, Any]:
  """The fingerprints of a run, as JSON.

  The optimizer's is of its traced program, which is another with any other setting, and in another version of JAX.

  Args:
    train: The training data.
    tx: The optimizer.
    params: The parameters; only shapes and dtypes matter.
    frozen: As in `fit`.

  Returns:
    `{"data": {"examples", "contents"}, "optimizer": {"program", "jax"}}`.
  """
  trained, _ = split_frozen(params, frozen)
  trained = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), trained)

  def program(params: Any) -> Any:
    state = tx.init(params)
    return state, update(tx, params, state, params, jnp.zeros(()))

  traced = digest(jax.make_jaxpr(program)(trained))
  return {"data": fingerprint(train)._asdict(), "optimizer": {"program": traced, "jax": jax.__version__}}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
  """What differs in two fingerprints, in words; those of optimizers are compared within one version of JAX alone.

  >>> differences({"data": {"examples": 8, "contents": "a"}}, {"data": {"examples": 5, "contents": "b"}})
  {'data': 'examples 8 -> 5'}
  """
  told = {}
  before, now = (kept.get("data", {}) for kept in (old, new))
  if before and before != now:
    was, is_now = (kept.get("examples") for kept in (before, now))
    told["data"] = f"{was} examples as before, other contents" if was == is_now else f"examples {was} -> {is_now}"
  before, now = (kept.get("optimizer", {}) for kept in (old, new))
  if before.get("jax") == now.get("jax") and before != now:
    told["optimizer"] = "other settings"
  return told
