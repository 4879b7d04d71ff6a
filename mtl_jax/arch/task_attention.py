"""Attention between tasks: each task's features read those of other tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core import devices
from mtl_jax._core.errors import check_choice
from mtl_jax.arch._parts import after_stem, check_count, check_parts, dense, is_float, linear, parted
from mtl_jax.arch._towers import examples_first, on_towers, towers
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def task_attention(
  trunk: Net,
  heads: Mapping[str, Net],
  mode: Literal["global", "local", "bidirectional"] = "global",
  shared_stages: int = 0,
  neighbours: int = 1,
) -> Net:
  r"""T towers, copies of the trunk; then the features of each task attend to those of other tasks.

  $$ \tilde h_t = h_t + \sum_{s \in N_t} a_{ts} V h_s, \qquad
     a_{ts} = \frac{\exp(q_t^T k_s)}{\sum_{r \in N_t} \exp(q_t^T k_r)}, \qquad
     q_t = Q h_t, \; k_s = K h_s / \sqrt D, \qquad \hat y_t = h_t(\tilde h_t) $$

  Attention is at each position by itself, over the tasks $N_t$:

  - `"global"`: all of them.
  - `"local"`: those at most `neighbours` places away in the order of `heads`, itself included.
  - `"bidirectional"`: twice, with parameters of their own: over the task and those before it, and over the task and
    those after it. Both sums are added.

  Args:
    trunk: What each tower is.
    heads: For each task a net from what a tower gives to its prediction. Their order is that of the tasks.
    mode: Which tasks a task attends to.
    shared_stages: The first stages of the trunk that are not copied.
    neighbours: How far `"local"` reaches, at least 1.

  Returns:
    The multi-task `Net`. All but the heads is shared. It reports `attention`, (T, T), in mode `"bidirectional"`
    `attention/before` and `attention/after`: a of the last batch, its mean over examples and positions.

  Raises:
    UserError: Something is no `Net`; no heads; an unknown mode; `neighbours` below 1; the trunk has no more stages than
      `shared_stages`.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b", "c")}
  >>> net = task_attention(mtl.from_linen(nn.Dense(8)), heads, mode="local")
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> net.report(params, state)["attention"].round(2).tolist()
  [[0.5, 0.5, 0.0], [0.33, 0.33, 0.33], [0.0, 0.5, 0.5]]

  When to use:
    What one task sees in an example helps another with the same example, in an order of tasks or without one.

  References:
    Vaswani et al., *Attention Is All You Need*, NeurIPS 2017, for the attention, here over tasks.
  """
  heads = check_parts("task_attention", trunk, heads)
  check_choice("task_attention", "mode", mode, ("global", "local", "bidirectional"))
  check_count("task_attention", "neighbours", neighbours)
  stem, rest = parted("task_attention", trunk, shared_stages)
  copies, allowed = towers(rest, len(heads)), _allowed(mode, len(heads), neighbours)

  def init(key, x):
    tower_key, key = jax.random.split(key)
    params, state = {}, {}
    params["towers"], state["towers"] = copies.init(tower_key, x)
    h, _ = copies.apply(params["towers"], state["towers"], x)
    keys = jax.random.split(key, len(allowed))
    params["attention"] = {name: _layers(own, h) for name, own in zip(allowed, keys, strict=True)}
    state["attention"] = {
      name: jnp.asarray(pairs / pairs.sum(axis=1, keepdims=True)) for name, pairs in allowed.items()
    }
    return params, state

  def apply(params, state, x, *, key: Any = None, train: bool = False, step: Any = None):
    after = dict(state)
    h, after["towers"] = copies.apply(params["towers"], state["towers"], x, key=key, train=train, step=step)
    found = {name: _attended(params["attention"][name], h, pairs) for name, pairs in allowed.items()}
    if train:
      after["attention"] = {name: maps for name, (_, maps) in found.items()}
    h = jax.tree.map(
      lambda leaf, *more: sum(more, leaf) if _is_read(leaf) else leaf, h, *[y for y, _ in found.values()]
    )
    return examples_first(h), after

  def report(params, state):
    maps = state["shared"]["attention"]
    return {"attention": maps["all"]} if len(maps) == 1 else {f"attention/{name}": a for name, a in maps.items()}

  net = hard_sharing(after_stem(stem, Net(init, apply)), on_towers(heads))
  return dataclasses.replace(net, report=report)


def _allowed(mode: str, count: int, neighbours: int) -> dict[str, np.ndarray]:
  """For each attention the pairs (task, task that it attends to), (T, T) of 0 and 1."""
  away = np.arange(count)[None] - np.arange(count)[:, None]
  if mode == "bidirectional":
    return {"before": (away <= 0).astype(np.float32), "after": (away >= 0).astype(np.float32)}
  return {"all": (abs(away) <= (neighbours if mode == "local" else count)).astype(np.float32)}


def _is_read(leaf: jax.Array) -> bool:
  return is_float(leaf) and leaf.ndim > 2


def _layers(key: jax.Array, h: Any) -> dict[str, Any]:
  """The maps Q, K and V for each array of features, by its number among them."""
  widths = [leaf.shape[-1] for leaf in jax.tree.leaves(h) if _is_read(leaf)]

  def one(key, width):
    keys = jax.random.split(key, 3)
    return {name: dense(own, width, width) for name, own in zip(("query", "key", "value"), keys, strict=True)}

  return {str(n): one(jax.random.fold_in(key, n), width) for n, width in enumerate(widths)}


def _attended(layers: Any, h: Any, pairs: np.ndarray) -> tuple[Any, jax.Array]:
  """What is added to features (T, B, ..., D), and the mean attention over them, (T, T)."""
  own, maps = iter([layers[str(n)] for n in range(len(layers))]), []

  def one(leaf):
    if not _is_read(leaf):
      return leaf
    to = next(own)
    query, key, value = (linear(to[name], leaf) for name in ("query", "key", "value"))
    scores = jnp.einsum("t...d,s...d->...ts", query, key).astype(jnp.float32) / np.sqrt(leaf.shape[-1])
    weights = jax.nn.softmax(scores, where=jnp.broadcast_to(jnp.asarray(pairs > 0), scores.shape))
    maps.append(jnp.mean(jax.lax.stop_gradient(weights).reshape(-1, *pairs.shape), axis=0))
    return jnp.einsum("...ts,s...d->t...d", weights.astype(leaf.dtype), value)

  added = jax.tree.map(one, h)
  mean = sum(maps, jnp.zeros(pairs.shape, jnp.float32)) / max(1, len(maps))
  return added, devices.total(mean) / devices.count()
