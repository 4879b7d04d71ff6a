"""Hard parameter sharing: one trunk, one head per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mtl_jax._core.packed import FROM, entry
from mtl_jax.arch._parts import check_parts
from mtl_jax.net import Cut, Net, from_cut


def hard_sharing(trunk: Net, heads: Mapping[str, Net]) -> Net:
  r"""One trunk shared by all tasks, one head per task.

  $$ \hat y_t = h_t(f(x; \theta_{shared}); \theta_t) $$

  Args:
    trunk: Maps the input (B, ...) to features (B, ...), any pytree. Masks and indices among them go on to the heads.
    heads: For each task a net from those features to its prediction.

  Returns:
    The multi-task `Net`: `x -> {task: prediction}`, with parameters `{"shared": ..., "task": {name: ...}}`.

  Raises:
    UserError: No heads; a trunk or head that is no `Net`.

  >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
  >>> net = hard_sharing(mtl.from_linen(nn.Dense(8)), {"kind": mtl.from_linen(nn.Dense(3))})
  >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 4)))
  >>> net.apply(params, state, jnp.ones((2, 4)))[0]["kind"].shape
  (2, 3)

  When to use:
    First of all: it is the cheapest by far, and hard to beat where tasks are related. Compare every other one with it.

  References:
    Caruana, *Multitask Learning: A Knowledge-Based Source of Inductive Bias*, 1993.
  """
  heads = check_parts("hard_sharing", trunk, heads)

  def init(key, x):
    keys = jax.random.split(key, 1 + len(heads))
    shared, shared_state = trunk.init(entry(keys, 0), x)
    features, _ = trunk.apply(shared, shared_state, x)
    tasks = init_heads(heads, keys, features)
    params = {"shared": shared, "task": {name: p for name, (p, _) in tasks.items()}}
    return params, {"shared": shared_state, "task": {name: s for name, (_, s) in tasks.items()}}

  return from_cut(init, Cut(trunk.apply, {name: head.apply for name, head in heads.items()}))


def init_heads(heads: Mapping[str, Net], keys: jax.Array, features: Any) -> dict[str, Any]:
  """The parameters and state of each head; those of many equal heads as one batch.

  Args:
    heads: The heads.
    keys: (n,), of which the last are theirs. In one array, since a program with hundreds of inputs takes long to
      compile.
    features: Their input.

  Returns:
    `{task: (params, state)}`.
  """
  place = {name: len(keys) - len(heads) + i for i, name in enumerate(heads)}
  groups: list[list[str]] = []
  for name, head in heads.items():
    own = next((group for group in groups if heads[group[0]].init == head.init), None)
    groups.append([name]) if own is None else own.append(name)
  found = {}
  for names in groups:
    if len(names) < FROM:
      found |= {name: heads[name].init(entry(keys, place[name]), features) for name in names}
      continue
    inits, places = jax.vmap(heads[names[0]].init, in_axes=(0, None)), np.array([place[name] for name in names])
    made = jax.jit(lambda keys, features, inits=inits, places=places: inits(keys[places], features))(keys, features)
    found |= {name: entry(made, i) for i, name in enumerate(names)}
  return {name: found[name] for name in heads}
