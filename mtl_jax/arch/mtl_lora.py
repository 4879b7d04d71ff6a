"""MTL-LoRA: shared low-rank factors, between which each task has a transformation, and mixes several second factors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.arch._low_rank import check_kernels, down, updated
from mtl_jax.arch._parts import check_count, check_parts
from mtl_jax.arch._streams import repeated, streams
from mtl_jax.net import Net


def mtl_lora(
  trunk: Net,
  heads: Mapping[str, Net],
  rank: int = 8,
  ups: int = 3,
  scale: float = 2.0,
  temperature: float = 0.1,
  kernels: str = r"(^|/)kernel$",
) -> Net:
  r"""One trunk; a task runs it with an update of low rank that is made of shared factors in a way of its own.

  $$ \hat y_t = h_t\big(f(x; W + s \sum_{i=1}^n softmax(c_t / \tau)_i B_i \Lambda_t A)\big) $$

  A starts at random, B at zero and $\Lambda$ at the identity, so it is hard sharing at first. $c_t$ starts at random:
  with equal weights all $B_i$ would have equal gradients, and stay equal. In the parameters `a` is $A^T$, (in, r), `b`
  is all $B_i^T$, (n, r, out), and `transform` is $\Lambda_t^T$; kernels count as matrices as in `lora`.

  Args:
    trunk: Any trunk, whole.
    heads: For each task a net from what the trunk gives to its prediction.
    rank: r, at least 0.
    ups: n, the number of second factors B, at least 1.
    scale: s, which the paper writes as $\alpha / r$.
    temperature: $\tau$, above 0.
    kernels: A regular expression, searched for in the paths of the trunk's parameters, as in `lora`.

  Returns:
    The multi-task `Net`. The trunk, A and B are shared, as `{"trunk": ..., "lora": ...}`; transformations, mixtures,
    heads and batch statistics belong to their tasks. The trunk runs once per task. The net has no cut. It reports
    `mixture/<task>`, (kernels, n), the softmax of c. To train all but the trunk, freeze `^shared/trunk/`.

  Raises:
    UserError: Something is no `Net`; no heads; an option is out of range; when it is initialised, no kernel matches.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> net = mtl_lora(mtl.from_linen(mtl.nn.MLP((8,))), {"kind": mtl.from_linen(nn.Dense(3))}, rank=2)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> params["task"]["kind"]["lora"]["Dense_0/kernel"]["transform"].tolist()
  [[1.0, 0.0], [0.0, 1.0]]
  >>> net.report(params, state)["mixture/kind"].shape
  (1, 3)

  Deviations: no dropout on the input of an update.

  When to use:
    As `mtlora`, where there are many tasks and even their own factors must be small.

  References:
    Yang et al., *MTL-LoRA: Low-Rank Adaptation for Multi-Task Learning*, AAAI 2025.
  """
  heads = check_parts("mtl_lora", trunk, heads)
  check_count("mtl_lora", "rank", rank, 0)
  check_count("mtl_lora", "ups", ups)
  if not temperature > 0:
    raise UserError(f"mtl_lora: temperature is {temperature}, expected above 0.")

  def init(key, x, count):
    key, shared_key, own_key = jax.random.split(key, 3)
    params, state = trunk.init(key, x)
    found = check_kernels("mtl_lora", params, kernels)
    keys = dict(zip(found, jax.random.split(shared_key, len(found)), strict=True))
    factors = {
      path: {"a": down(keys[path], width, rank), "b": jnp.zeros((ups, rank, out))}
      for path, (width, out) in found.items()
    }

    def own(key):
      keys = jax.random.split(key, len(found))
      return {
        path: {"transform": jnp.eye(rank), "mixture": down(own, ups, 1)[:, 0]}
        for path, own in zip(found, keys, strict=True)
      }

    mine = jax.vmap(own)(jax.random.split(own_key, count))
    return ({"trunk": params, "lora": factors}, mine), ({}, repeated(state, count))

  def mixture(own):
    return jax.nn.softmax(own["mixture"] / temperature)

  def each(shared, own, state, x, **context):
    def update(factors, own):
      up = jnp.tensordot(mixture(own), factors["b"], 1)
      return scale * (factors["a"] @ own["transform"] @ up)

    found = {path: update(factors, own[path]) for path, factors in shared["lora"].items()}
    return trunk.apply(updated(shared["trunk"], found), state, x, **context)

  def report(params, state):
    tasks = params["task"].items()
    return {f"mixture/{name}": jnp.stack([mixture(each) for each in own["lora"].values()]) for name, own in tasks}

  return dataclasses.replace(streams("lora", heads, init, each), report=report)
