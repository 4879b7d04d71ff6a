"""Task routing: each task uses a fixed random part of the channels of every stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.arch._parts import check_parts, is_float, stages_of
from mtl_jax.arch._routes import as_examples, by_task, spread
from mtl_jax.arch._towers import on_towers
from mtl_jax.arch.chain import in_order, numbered, split_key
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def task_routing(trunk: Net, heads: Mapping[str, Net], keep: float = 0.5, seed: int = 0) -> Net:
  r"""One trunk; after each stage fixed random masks leave every task a part of the channels.

  $$ h_t^{(l)} = m_t^{(l)} \odot f^{(l)}(h_t^{(l-1)}), \qquad m_t^{(l)} \in \{0, 1\}^C, \qquad
     \hat y_t = h_t(h_t^{(L)}) $$

  Each task draws its channels by itself, `keep * C` of them rounded, and at least one. With `keep=1` it is hard
  sharing.

  Args:
    trunk: With at least two stages; channels are the last axis of what they give.
    heads: For each task a net from what the trunk gives to its prediction.
    keep: The part of the channels that a task uses, above 0 and at most 1.
    seed: The masks are constants that depend on it, on the order of tasks and on the widths alone.

  Returns:
    The multi-task `Net`. The trunk is shared. All tasks' examples go through it as one batch, of which batch statistics
    are taken.

  Raises:
    UserError: Something is no `Net`; no heads; a trunk without stages; `keep` outside of (0, 1].

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}
  >>> net = task_routing(mtl.from_linen(mtl.nn.MLP((8, 8))), heads)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> features, _ = net.cut.trunk(params["shared"], state["shared"], jnp.ones((5, 4)))
  >>> features.shape
  (5, 2, 8)

  When to use:
    There are so many tasks that each needs room of its own, but no parameters may be added.

  References:
    Strezoski, van Noord, Worring, *Many Task Learning With Task Routing*, ICCV 2019.
  """
  heads, stages = check_parts("task_routing", trunk, heads), stages_of("task_routing", trunk)
  if not 0 < keep <= 1:
    raise UserError(f"task_routing: keep is {keep}, expected a number above 0 and at most 1.")
  count, parts = len(heads), numbered(stages)

  def routed(stage, features):
    """Features (B, T, ...) times the masks of that stage."""

    def one(number, leaf):
      if not is_float(leaf) or leaf.ndim < 3:
        return leaf
      mask = jnp.asarray(_masks(count, leaf.shape[-1], keep, (seed, stage, number)), leaf.dtype)
      return leaf * mask.reshape(1, count, *[1] * (leaf.ndim - 3), -1)

    leaves, structure = jax.tree.flatten(features)
    return jax.tree.unflatten(structure, [one(number, leaf) for number, leaf in enumerate(leaves)])

  def apply(params, state, x, *, key: Any = None, **mode):
    after = {}
    for i, ((name, stage), own) in enumerate(zip(parts.items(), split_key(key, len(parts)), strict=True)):
      y, after[name] = stage.apply(params[name], state[name], x if i == 0 else as_examples(x), key=own, **mode)
      x = routed(i, spread(y, count) if i == 0 else by_task(y, count))
    return x, after

  return hard_sharing(Net(in_order(parts).init, apply), on_towers(heads))


def _masks(count: int, width: int, keep: float, seed: tuple[int, ...]) -> np.ndarray:
  """For each task the channels that it uses, (T, width) of 0 and 1."""
  places = np.random.default_rng(seed).random((count, width)).argsort(axis=1)
  return (places < max(1, round(keep * width))).astype(np.float32)
