"""Hard parameter sharing: one trunk, one head per task."""

from __future__ import annotations

from collections.abc import Mapping

import jax

from mtl_jax._core.errors import UserError
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
    UserError: No heads.

  >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
  >>> net = hard_sharing(mtl.from_linen(nn.Dense(8)), {"kind": mtl.from_linen(nn.Dense(3))})
  >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 4)))
  >>> net.apply(params, state, jnp.ones((2, 4)))[0]["kind"].shape
  (2, 3)

  References:
    Caruana, *Multitask Learning: A Knowledge-Based Source of Inductive Bias*, 1993.
  """
  if not heads:
    raise UserError("hard_sharing needs at least one head, found none: pass heads={task: net}.")
  heads = dict(heads)

  def init(key, x):
    trunk_key, *head_keys = jax.random.split(key, 1 + len(heads))
    shared, shared_state = trunk.init(trunk_key, x)
    features, _ = trunk.apply(shared, shared_state, x)
    tasks = {name: head.init(k, features) for k, (name, head) in zip(head_keys, heads.items(), strict=True)}
    params = {"shared": shared, "task": {name: p for name, (p, _) in tasks.items()}}
    return params, {"shared": shared_state, "task": {name: s for name, (_, s) in tasks.items()}}

  return from_cut(init, Cut(trunk.apply, {name: head.apply for name, head in heads.items()}))
