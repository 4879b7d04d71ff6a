"""Adapters: each task adds the output of a small network of its own to the features of every stage."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from mtl_jax.arch._parts import check_count, check_parts, dense, linear
from mtl_jax.arch._streams import between_stages, of_floats, on_floats
from mtl_jax.net import Net


def adapters(trunk: Net, heads: Mapping[str, Net], bottleneck: int = 16) -> Net:
  r"""One trunk; after each stage a task adds to the features what a narrow network of two layers makes of them.

  $$ h_t^{(l)} = u + U_t^{(l)} \phi(D_t^{(l)} u + d_t^{(l)}) + e_t^{(l)}, \qquad u = f^{(l)}(h_t^{(l-1)}) $$

  with ReLU $\phi$, on the last axis: at every position of a map or sequence. U and e start at zero, so it is hard
  sharing at first.

  Args:
    trunk: Shared by all tasks. A trunk without stages counts as one stage.
    heads: For each task a net from what the trunk gives to its prediction.
    bottleneck: The width between the two layers, at least 1.

  Returns:
    The multi-task `Net`. The stages are shared; adapters, heads and batch statistics belong to their tasks. The first
    stage runs once, the others once per task. The net has no cut. To train small parts alone, freeze `^shared/`.

  Raises:
    UserError: Something is no `Net`; no heads; `bottleneck` below 1; when it is initialised, a stage gives no features
      (B, ..., width).

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> net = adapters(mtl.from_linen(mtl.nn.MLP((8, 4))), {"kind": mtl.from_linen(nn.Dense(3))}, bottleneck=2)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 2)))
  >>> params["task"]["kind"]["adapter"]["stage_0"]["down"]["kernel"].shape
  (8, 2)

  Deviations: one adapter after each stage of the trunk, where Houlsby et al. have two inside each transformer layer and
  train its layer normalisations too.

  When to use:
    A pretrained trunk serves many tasks, which come one after the other; freeze it by `frozen=("^shared/",)`.

  References:
    Rebuffi et al., *Learning multiple visual domains with residual adapters*, NeurIPS 2017.
    Houlsby et al., *Parameter-Efficient Transfer Learning for NLP*, ICML 2019.
  """
  heads = check_parts("adapters", trunk, heads)
  check_count("adapters", "bottleneck", bottleneck)

  def make(key, width):
    up = {"kernel": jnp.zeros((bottleneck, width)), "bias": jnp.zeros(width)}
    return {"down": dense(key, width, bottleneck), "up": up}

  def init(key, x):
    return of_floats("adapters", make, key, x), {}

  def apply(params, state, x):
    return on_floats(lambda own, u: u + linear(own["up"], jax.nn.relu(linear(own["down"], u))), params, x), state

  return between_stages("adapter", trunk, heads, Net(init, apply))
