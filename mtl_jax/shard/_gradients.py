"""Where gradients live: with the part of the optimizer state that they update."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from mtl_jax._core.paths import by_path
from mtl_jax.shard._rules import AnyRules, rules_of
from mtl_jax.shard._shardings import specs_of


def constrain_gradients(grads: Any, params: Any, rules: AnyRules) -> Any:
  """Places the gradient of all parameters as the rules place the optimizer state, on the ambient mesh.

  Replicated parameters get whole gradients; with `zero` and `fsdp` each device has the part whose update it computes.

  Args:
    grads: Laid out like the parameters, without the frozen ones. One of another shape than its parameter, such as that
      of some rows, is whole on every device.
    params: All parameters, whose paths the rules match, or their shapes.
    rules: As in `state_shardings`.

  Returns:
    The same.
  """
  rules = rules_of(rules)
  mesh = jax.sharding.get_abstract_mesh()
  specs = specs_of(params, mesh, rules.params if rules.optimizer is None else rules.optimizer)
  shapes = {path: leaf.shape for path, leaf in by_path(params).items()}
  found = [specs[path] if leaf.shape == shapes[path] else P() for path, leaf in by_path(grads).items()]
  placed = jax.tree.unflatten(jax.tree.structure(grads), found)
  return jax.lax.with_sharding_constraint(grads, placed)
