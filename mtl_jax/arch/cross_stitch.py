"""Cross-stitch networks: one tower per task, whose features are mixed after each stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp

from mtl_jax.arch._parts import check_parts, mapped, stages_of
from mtl_jax.arch._stitched import last, near_identity, stitched, stitches
from mtl_jax.arch._towers import on_towers
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def cross_stitch(trunk: Net, heads: Mapping[str, Net], keep: float = 0.9) -> Net:
  r"""T towers, copies of the trunk; after each stage a learned T x T matrix mixes their features.

  $$ h_t^{(l)} = \sum_s \alpha^{(l)}_{ts} f_s^{(l)}(h_s^{(l-1)}), \qquad \hat y_t = h_t(h_t^{(L)}) $$

  $\alpha$ starts with `keep` on the diagonal and `(1 - keep) / (T - 1)` elsewhere, so that its rows sum to 1.

  Args:
    trunk: What each tower is, with at least two stages.
    heads: For each task a net from what a tower gives to its prediction.
    keep: How much of its own features a tower keeps at first, in [0, 1].

  Returns:
    The multi-task `Net`. Towers and mixing matrices are shared. It reports `stitch/<stage>`, (T, T).

  Raises:
    UserError: Something is no `Net`; no heads; a trunk without stages; `keep` outside of [0, 1].

  >>> import jax, flax.linen as nn, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}
  >>> net = cross_stitch(mtl.from_linen(mtl.nn.MLP((8, 8))), heads)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> params["shared"]["stitch"]["stage_0"].round(2).tolist()
  [[0.9..., 0.1...], [0.1..., 0.9...]]

  Deviations: one weight per pair of towers, not one per pair and channel.

  When to use:
    There are a few tasks, T trunks fit, and you want to see by the matrices how much they share.

  References:
    Misra et al., *Cross-stitch Networks for Multi-task Learning*, CVPR 2016.
  """
  heads, stages = check_parts("cross_stitch", trunk, heads), stages_of("cross_stitch", trunk)
  start = near_identity("cross_stitch", len(heads), keep)

  def stitch(alpha, h):
    return mapped(lambda leaf: jnp.tensordot(alpha.astype(leaf.dtype), leaf, 1), h)

  own = on_towers(heads)
  body = last(stitched(stages, len(heads), start, stitch))
  return dataclasses.replace(hard_sharing(body, own), report=stitches)
