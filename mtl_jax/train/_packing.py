"""Which heads' parameters a train state keeps in one tree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.frozen import Frozen
from mtl_jax._core.inputs import Keys
from mtl_jax._core.packed import groups_of, is_packed, packed
from mtl_jax._core.paths import by_path
from mtl_jax.net import Net
from mtl_jax.tasks import Task


def pack_heads(
  net: Net,
  tasks: Mapping[str, Task],
  keys: Mapping[str, Keys],
  params: Any,
  state: Any,
  tx: optax.GradientTransformation,
  frozen: Frozen,
) -> tuple[Any, Any]:
  """Parameters and state with equal heads of many tasks in one tree, where that changes nothing but the layout.

  Args:
    net: The net; one without a cut between trunk and heads keeps them apart.
    tasks: The tasks; auxiliary ones stay apart.
    keys: Their inputs. Heads are packed that read the same features, or one input each.
    params: The net's parameters.
    state: Its state.
    tx: The optimizer. One that treats a leaf as a whole, such as by its norm, or looks at its shape or name, would
      treat packed heads otherwise: then they stay apart.
    frozen: Patterns for parameters that stay as they are; heads that they treat differently stay apart.

  Returns:
    Both, packed or as they are.
  """
  if net.cut is None:
    return params, state
  patterns, readers = [frozen] if isinstance(frozen, str) else list(frozen), list(keys.values())

  def kind(name: str) -> Any:
    held = [[bool(re.search(p, f"task/{name}/{path}")) for path in by_path(params["task"][name])] for p in patterns]
    key = keys[name] if readers.count(keys[name]) > 1 else None
    return str((key, held))

  names = [name for name in params["task"] if name in tasks and tasks[name].balance]
  kinds: dict[str, dict[str, Any]] = {}
  for name in names:
    kinds.setdefault(kind(name), {})[name] = (params["task"][name], state["task"][name])
  groups = [group for entries in kinds.values() for group in groups_of(entries)]
  groups += [(name,) for name in params["task"] if name not in names]
  if not any(group[1:] for group in groups) or not _alike_to(tx, params, groups):
    return params, state
  return packed_heads((params, state), groups)


def _alike_to(tx: optax.GradientTransformation, params: Any, groups: Sequence[tuple[str, ...]]) -> bool:
  """Whether the optimizer's updates of packed heads are those of the heads apart; tried on two of each group."""
  some = [names[:2] for names in groups]
  heads = {name: params["task"][name] for names in some for name in names}
  # Of the shared parameters only names and ranks: their updates do not matter.
  shared = jax.tree.map(lambda leaf: np.ones((1,) * leaf.ndim, leaf.dtype), params["shared"])
  rng = np.random.default_rng(0)

  def drawn(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), tree)

  apart = drawn({"shared": shared, "task": heads})
  gradients = [drawn(apart), drawn(apart)]
  update = optax.with_extra_args_support(tx).update

  def updates(params, grads):
    state, found = tx.init(params), []
    for now in grads:
      change, state = update(now, state, params, value=jnp.float32(1.0), grad=now)
      found.append(change)
    return found

  def both(params, grads):
    def packing(tree):
      return {**tree, "task": packed(tree["task"], some)}

    one, other = updates(params, grads), updates(packing(params), [packing(now) for now in grads])
    return one, [{**tree, "task": dict(tree["task"])} for tree in other]

  try:
    with jax.numpy_dtype_promotion("standard"):
      # Compiled ahead of its call, and so run also where an init is traced.
      one, other = jax.device_get(jax.jit(both).lower(apart, gradients).compile()(apart, gradients))
  except Exception:  # whatever an optimizer for other trees makes of this one
    return False
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return all(np.allclose(a, b, rtol=1e-4, atol=1e-6 * (1e-30 + np.abs(a).max(initial=0.0))) for a, b in pairs)


def packed_heads(model: tuple[Any, Any], groups: Sequence[Sequence[str]]) -> tuple[Any, Any]:
  """Parameters and state with the heads of each group in one tree."""
  params, state = ({**t, "task": packed(t["task"], [tuple(names) for names in groups])} for t in model)
  return params, state


def packing_of(params: Any) -> list[list[str]]:
  """The groups of names in one tree each, as JSON; none where nothing is packed.

  >>> packing_of({"shared": (), "task": {"a": 1}})
  []
  """
  return [list(names) for names in params["task"].groups] if is_packed(params["task"]) else []
