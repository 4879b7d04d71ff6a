"""Multi-task attention network: each task looks at a shared trunk's stages through masks of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.resized import resized
from mtl_jax.arch._parts import check_parts, dense, for_each, is_float, linear, stages_of
from mtl_jax.arch.chain import in_order, numbered, split_key
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def mtan(trunk: Net, heads: Mapping[str, Net]) -> Net:
  r"""A shared trunk in stages; each task multiplies what every stage gives by an attention mask of its own.

  $$ m_t^{(l)} = \sigma\big(V_t^{(l)} relu(W_t^{(l)} [p^{(l)}, a_t^{(l-1)}])\big), \quad
     a_t^{(l)} = m_t^{(l)} \odot p^{(l)}, \quad \hat y_t = h_t(a_t^{(L)}) $$

  $p^{(l)}$ is what stage l of the trunk gives. Masks have one entry per position and channel. Where the stage before
  has another resolution, what the task saw there is resized; its mean over the positions is taken where stage l has
  none, such as after pooling.

  Args:
    trunk: With at least two stages, that give maps (B, H, W, C), sequences or vectors (B, D).
    heads: For each task a net from what the trunk gives to its prediction.

  Returns:
    The multi-task `Net`. The trunk is shared, attention belongs to its task: its parameters are
    `{"attention": {stage: ...}, "head": ...}`.

  Raises:
    UserError: Something is no `Net`; no heads; a trunk without stages.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}
  >>> net = mtan(mtl.from_linen(mtl.nn.CNN((4, 8), features=16)), heads)
  >>> params, state = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((2, 8, 8, 1)))
  >>> params["task"]["a"]["attention"]["stage_1"]["0"]["in"]["kernel"].shape
  (12, 8)

  Deviations: one feature map per stage is both read and masked, not two. Attention is two layers on each position,
  without batch normalisation and without the convolution that passes a task's features on to the next stage.

  When to use:
    Tasks need different parts of the same features, above all at every pixel of an image. It costs two small layers per
    task and stage.

  References:
    Liu, Johns, Davison, *End-to-End Multi-Task Learning with Attention*, CVPR 2019.
  """
  heads, stages = check_parts("mtan", trunk, heads), stages_of("mtan", trunk)
  return hard_sharing(_all_stages(stages), for_each(heads, _attending))


def _all_stages(stages: tuple[Net, ...]) -> Net:
  """The trunk, which gives what each stage gives."""
  parts = numbered(stages)

  def apply(params, state, x, *, key: Any = None, **mode):
    found, after = {}, {}
    for (name, stage), own in zip(parts.items(), split_key(key, len(parts)), strict=True):
      x, after[name] = stage.apply(params[name], state[name], x, key=own, **mode)
      found[name] = x
    return found, after

  return Net(in_order(parts).init, apply)


def _attending(head: Net) -> Net:
  """The head on what its task sees of the last stage."""

  def see(attention, features):
    seen = None
    for i in range(len(features)):
      seen = _masked(attention[f"stage_{i}"], features[f"stage_{i}"], seen)
    return seen

  def init(key, features):
    key, attention_key = jax.random.split(key)
    attention, before = {}, 0
    for i, own in enumerate(jax.random.split(attention_key, len(features))):
      widths = [leaf.shape[-1] for leaf in jax.tree.leaves(features[f"stage_{i}"]) if _has_channels(leaf)]
      layers = zip(widths, jax.random.split(own, max(1, len(widths))), strict=False)
      attention[f"stage_{i}"] = {str(n): _layers(leaf_key, width, before) for n, (width, leaf_key) in enumerate(layers)}
      before = sum(widths)
    params, state = head.init(key, see(attention, features))
    return {"attention": attention, "head": params}, state

  def apply(params, state, features, **context):
    return head.apply(params["head"], state, see(params["attention"], features), **context)

  return Net(init, apply)


def _layers(key: jax.Array, width: int, before: int) -> dict[str, Any]:
  first, second = jax.random.split(key)
  return {"in": dense(first, width + before, width), "out": dense(second, width, width)}


def _masked(layers: Mapping[str, Any], features: Any, before: Any) -> Any:
  """Features times their masks, which read them and what the task saw `before`."""
  own = iter([layers[str(n)] for n in range(len(layers))])

  def one(leaf):
    if not _has_channels(leaf):
      return leaf
    attention, read = next(own), jnp.concatenate([leaf, *_placed(before, leaf)], axis=-1)
    return leaf * jax.nn.sigmoid(linear(attention["out"], jax.nn.relu(linear(attention["in"], read))))

  return jax.tree.map(one, features)


def _has_channels(leaf: jax.Array) -> bool:
  return is_float(leaf) and leaf.ndim > 1


def _placed(before: Any, like: jax.Array) -> list[jax.Array]:
  """What a task saw before, (B, ..., D) each, at the positions of another array."""
  places = like.shape[1:-1]
  mask = before.get("mask") if isinstance(before, Mapping) else None

  def one(leaf):
    here = leaf.shape[1:-1]
    if here == places:
      return leaf
    known = jnp.ones(leaf.shape[:-1]) if mask is None or mask.shape != leaf.shape[:-1] else mask
    weights = known.astype(leaf.dtype)[..., None]
    if len(here) == len(places):
      return resized(leaf * weights, places)
    axes = tuple(range(1, leaf.ndim - 1))
    mean = jnp.sum(leaf * weights, axes) / jnp.maximum(jnp.sum(weights, axes), 1)
    return jnp.broadcast_to(mean.reshape(len(mean), *[1] * len(places), -1), (len(mean), *places, leaf.shape[-1]))

  return [one(leaf) for leaf in jax.tree.leaves(before) if _has_channels(leaf)]
