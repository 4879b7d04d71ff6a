"""All architectures, for the tests that each must pass."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mtl_jax as mtl


class Case(NamedTuple):
  """An architecture.

  Attributes:
    make: `make(trunk, heads, **options) -> Net`.
    options: What it is tried with.
    on_tokens: Further options where the input is integers.
    cut: Whether the net is a trunk, then independent heads.
    middle: Whether it needs a stage that gives the shape it gets, as those have that skip stages: on integers, the
      trunk then has one more between its two.
    fitted: Makes of the common trunks such as it takes: `prompt` acts on sequences, and some of them have none.
  """

  make: Callable[..., mtl.Net]
  options: dict[str, Any] = {}
  on_tokens: dict[str, Any] = {}
  cut: bool = True
  middle: bool = False
  fitted: Callable[[mtl.Net], mtl.Net] = lambda trunk: trunk


def on_sequences(trunk):
  """The trunk with what its first stage gives as a sequence of one position, where that is a vector."""

  def stateless(function):
    return mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (function(x), state))

  first, *rest = trunk.stages
  as_sequence = stateless(lambda x: x if isinstance(x, dict) else x[:, None])
  pooled = stateless(lambda x: x.mean(axis=1) if x.ndim == 3 else x)
  return mtl.arch.chain(mtl.arch.chain(first, as_sequence), *rest, pooled)


def filled(shapes, seed=0):
  """Arrays of these shapes, small random numbers: to initialise a net would take longer than to compile it."""
  rng = np.random.default_rng(seed)

  def one(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return jax.random.key(seed)
    number = jnp.issubdtype(leaf.dtype, jnp.floating)
    return (0.4 * rng.normal(size=leaf.shape) if number else np.zeros(leaf.shape)).astype(leaf.dtype)

  return jax.tree.map(one, shapes)


SHARED_STAGE = {"shared_stages": 1}

TABLE: dict[str, Case] = {
  "hard_sharing": Case(mtl.arch.hard_sharing),
  "tree": Case(mtl.arch.tree),
  "ltb": Case(mtl.arch.ltb),
  "soft_sharing": Case(mtl.arch.soft_sharing),
  "cross_stitch": Case(mtl.arch.cross_stitch),
  "sluice": Case(mtl.arch.sluice),
  "task_attention": Case(mtl.arch.task_attention),
  "mtan": Case(mtl.arch.mtan),
  "adashare": Case(mtl.arch.adashare, cut=False, middle=True),
  "task_routing": Case(mtl.arch.task_routing),
  "mmoe": Case(mtl.arch.mmoe, {"experts": 3}, SHARED_STAGE),
  "film": Case(mtl.arch.film, cut=False),
  "adapters": Case(mtl.arch.adapters, {"bottleneck": 3}, cut=False),
  "prompt": Case(mtl.arch.prompt, {"length": 2}, cut=False, fitted=on_sequences),
  "lora": Case(mtl.arch.lora, {"rank": 2}, cut=False),
  "mtlora": Case(mtl.arch.mtlora, {"rank": 3, "task_rank": 2}, cut=False),
  "mtl_lora": Case(mtl.arch.mtl_lora, {"rank": 2}, cut=False),
  "aitm": Case(mtl.arch.aitm),
  "esmm": Case(mtl.arch.esmm),
  "omoe": Case(mtl.arch.omoe, {"experts": 3}, SHARED_STAGE),
  "cgc": Case(mtl.arch.cgc, {"task_experts": 1}, SHARED_STAGE),
  "ple": Case(mtl.arch.ple, {"shared_experts": 1}, SHARED_STAGE),
  "dselect_k": Case(mtl.arch.dselect_k, {"experts": 3}, SHARED_STAGE),
  "moe_topk": Case(mtl.arch.moe_topk, {"balance": "shazeer", "noise": True, "z_strength": 1e-3}, SHARED_STAGE),
}
