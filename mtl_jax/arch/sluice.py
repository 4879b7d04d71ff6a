"""Sluice networks: towers that share some of their feature subspaces."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax import terms
from mtl_jax._core.errors import UserError
from mtl_jax.arch._parts import check_count, check_parts, is_float, mapped, stages_of
from mtl_jax.arch._stitched import last, near_identity, stitched, stitches
from mtl_jax.arch._towers import on_towers
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def sluice(
  trunk: Net,
  heads: Mapping[str, Net],
  subspaces: int = 2,
  keep: float = 0.9,
  mixture: bool = False,
  orthogonality: terms.Strength = 1e-3,
) -> Net:
  r"""T towers of G feature subspaces each; after each stage a learned TG x TG matrix mixes all of them.

  $$ h_{tg}^{(l)} = \sum_{s,k} \alpha^{(l)}_{tg,sk} f_{sk}^{(l)}(h_s^{(l-1)}), \qquad
     \hat y_t = h_t\big(\sum_l \beta_{tl} h_t^{(l)}\big) $$

  A subspace is a slice of the channels, the last axis. $\alpha$ starts with `keep` on the diagonal, and the rest of
  each row spread over the others. With one subspace it is `cross_stitch`.

  Args:
    trunk: What each tower is, with at least two stages.
    heads: For each task a net from what a tower gives to its prediction.
    subspaces: G, which must divide the channels of each stage.
    keep: How much of its own features a subspace keeps at first, in [0, 1].
    mixture: Whether heads read a learned sum over stages, with $\beta_{tl} = 1/L$ at first, which needs stages that
      give equal shapes; False: the last stage alone.
    orthogonality: The strength of the term `orthogonality`, $\sum \|W_g^T W_k\|_F^2$ over the kernels of each tower
      and pairs of subspaces: $W_g$ (in, D/G) makes the channels of subspace g.

  Returns:
    The multi-task `Net`. Towers and mixing matrices are shared, $\beta$ belongs to the tasks. It reports
    `stitch/<stage>`, (TG, TG), and with `mixture` `layers/<task>`, (L,).

  Raises:
    UserError: Something is no `Net`; no heads; a trunk without stages; `keep` outside of [0, 1]; when it is
      initialised, channels that G does not divide, or with `mixture` stages that give different shapes.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}
  >>> net = sluice(mtl.from_linen(mtl.nn.MLP((8, 8))), heads)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> params["shared"]["stitch"]["stage_0"].shape
  (4, 4)

  Deviations: kernels are all parameters of a stage with at least two axes, of which the last is as wide as a multiple
  of G.

  When to use:
    As `cross_stitch`, where tasks share a part of their features only, or at a different depth.

  References:
    Ruder et al., *Latent Multi-Task Architecture Learning*, AAAI 2019.
  """
  heads, stages = check_parts("sluice", trunk, heads), stages_of("sluice", trunk)
  check_count("sluice", "subspaces", subspaces)
  count = len(heads)
  body = stitched(stages, count, near_identity("sluice", count * subspaces, keep), _stitch(count, subspaces))
  own = on_towers({name: _mixing(head) if mixture else head for name, head in heads.items()})

  def orthogonal(params):
    found = [_overlap(w, subspaces) for w in jax.tree.leaves(params["shared"]["towers"])]
    return sum(found, jnp.zeros((), jnp.float32))

  def report(params, state):
    layers = {f"layers/{name}": p["layers"] for name, p in params["task"].items()} if mixture else {}
    return stitches(params, state) | layers

  net = dataclasses.replace(hard_sharing(body if mixture else last(body), own), report=report)
  if subspaces == 1:
    return net
  return dataclasses.replace(net, terms={"orthogonality": terms.penalty(orthogonal, orthogonality)})


def _stitch(count: int, subspaces: int) -> Any:
  """`stitch(alpha, features)` for features (T, B, ..., D), whose channels are G slices."""

  def one(alpha, leaf):
    if leaf.shape[-1] % subspaces or leaf.ndim < 3:
      width = leaf.shape[-1] if leaf.ndim > 2 else 1
      raise UserError(
        f"sluice: a stage gives {width} channels, expected a multiple of subspaces={subspaces}: choose other widths."
      )
    slices = leaf.reshape(*leaf.shape[:-1], subspaces, -1)
    blocks = alpha.astype(leaf.dtype).reshape(count, subspaces, count, subspaces)
    return jnp.einsum("tgsk,s...kd->t...gd", blocks, slices).reshape(leaf.shape)

  return lambda alpha, h: mapped(lambda leaf: one(alpha, leaf), h)


def _mixing(head: Net) -> Net:
  """The head on a learned sum of what all stages give."""

  def total(layers, features):
    return mapped(
      lambda *leaves: jnp.einsum("l,l...->...", layers.astype(leaves[0].dtype), jnp.stack(leaves)), *features
    )

  def init(key, features):
    shapes = [jax.tree.map(lambda leaf: leaf.shape[1:], each) for each in features]
    if any(shape != shapes[0] for shape in shapes):
      raise UserError(
        f"sluice: mixture=True adds up what stages give, found {', '.join(map(str, shapes))}: take stages that give "
        "equal shapes, or mixture=False."
      )
    layers = jnp.full(len(features), 1 / len(features), jnp.float32)
    params, state = head.init(key, total(layers, features))
    return {"layers": layers, "head": params}, state

  def apply(params, state, features, **context):
    return head.apply(params["head"], state, total(params["layers"], features), **context)

  return Net(init, apply)


def _overlap(w: jax.Array, subspaces: int) -> jax.Array:
  """The squared products of the subspaces of stacked kernels (T, ..., D)."""
  if w.ndim < 3 or w.shape[-1] % subspaces or not is_float(w):
    return jnp.zeros((), jnp.float32)
  slices = w.astype(jnp.float32).reshape(w.shape[0], -1, subspaces, w.shape[-1] // subspaces)
  pairs = itertools.combinations(range(subspaces), 2)
  products = [jnp.einsum("tid,tie->tde", slices[:, :, g], slices[:, :, k]) for g, k in pairs]
  return sum((jnp.sum(product * product) for product in products), jnp.zeros((), jnp.float32))
