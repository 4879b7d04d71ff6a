"""LoRA: each task adds matrices of low rank, its own, to the kernels of a shared trunk."""

from __future__ import annotations

from collections.abc import Mapping

import jax

from mtl_jax.arch._low_rank import check_kernels, factors, updated, updates
from mtl_jax.arch._parts import check_count, check_parts
from mtl_jax.arch._streams import repeated, streams
from mtl_jax.net import Net


def lora(
  trunk: Net, heads: Mapping[str, Net], rank: int = 8, scale: float = 2.0, kernels: str = r"(^|/)kernel$"
) -> Net:
  r"""One trunk; a task runs it with an update of low rank on its kernels.

  $$ \hat y_t = h_t(f(x; W + s B_t A_t)) $$

  A starts at random and B at zero, so it is hard sharing at first. In the parameters, as in Flax, a kernel is (in,
  out): `a` is $A^T$, (in, r), and `b` is $B^T$, (r, out). A kernel of more axes, such as a convolution's, counts as a
  matrix of that form, with the last axis as its columns.

  Args:
    trunk: Any trunk, whole.
    heads: For each task a net from what the trunk gives to its prediction.
    rank: r, at least 0; 0 is hard sharing with a trunk that runs once per task.
    scale: s, which the paper writes as $\alpha / r$.
    kernels: A regular expression, searched for in the paths of the trunk's parameters; it chooses among arrays of at
      least two axes.

  Returns:
    The multi-task `Net`. The trunk is shared, under its own names; factors, heads and batch statistics belong to their
    tasks. The trunk runs once per task. The net has no cut. To train factors and heads alone, freeze `^shared/`;
    then nothing is shared that gradient balancers could balance, but loss weighters serve.

  Raises:
    UserError: Something is no `Net`; no heads; `rank` below 0; when it is initialised, no kernel matches.

  >>> import jax.numpy as jnp, flax.linen as nn, mtl_jax as mtl
  >>> net = lora(mtl.from_linen(mtl.nn.MLP((8,))), {"kind": mtl.from_linen(nn.Dense(3))}, rank=2)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> params["task"]["kind"]["lora"]["Dense_0/kernel"]["a"].shape
  (4, 2)

  Deviations: the update is made of the weights, not of a layer's input, so that input has no dropout of its own.

  When to use:
    A pretrained trunk is large, and each task may change it a little; freeze it by `frozen=("^shared/",)`.

  References:
    Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, ICLR 2022.
  """
  heads = check_parts("lora", trunk, heads)
  check_count("lora", "rank", rank, 0)

  def init(key, x, count):
    key, own_key = jax.random.split(key)
    shared, state = trunk.init(key, x)
    found = check_kernels("lora", shared, kernels)
    own = jax.vmap(lambda key: factors(key, found, rank))(jax.random.split(own_key, count))
    return (shared, own), ({}, repeated(state, count))

  def each(shared, own, state, x, **context):
    return trunk.apply(updated(shared, updates(own, scale)), state, x, **context)

  return streams("lora", heads, init, each)
