"""All architectures, for the tests that each must pass."""

from collections.abc import Callable
from typing import Any, NamedTuple

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
    own: A regular expression for paths of shared parameters in which only one task, or none, has a gradient.
    fitted: Makes of the common trunks such as it takes: `prompt` acts on sequences, and some of them have none.
  """

  make: Callable[..., mtl.Net]
  options: dict[str, Any] = {}
  on_tokens: dict[str, Any] = {}
  cut: bool = True
  middle: bool = False
  own: str = "$^"
  fitted: Callable[[mtl.Net], mtl.Net] = lambda trunk: trunk


def on_sequences(trunk):
  """The trunk with what its first stage gives as a sequence of one position, where that is a vector."""

  def stateless(function):
    return mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (function(x), state))

  first, *rest = trunk.stages
  as_sequence = stateless(lambda x: x if isinstance(x, dict) else x[:, None])
  pooled = stateless(lambda x: x.mean(axis=1) if x.ndim == 3 else x)
  return mtl.arch.chain(mtl.arch.chain(first, as_sequence), *rest, pooled)


SHARED_STAGE = {"shared_stages": 1}
FIRST_FACTOR = "/lora/.*/a$"  # which has no gradient at first, as the second one is zero

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
  "mtlora": Case(mtl.arch.mtlora, {"rank": 3, "task_rank": 2}, cut=False, own=FIRST_FACTOR),
  "mtl_lora": Case(mtl.arch.mtl_lora, {"rank": 2}, cut=False, own=FIRST_FACTOR),
  "aitm": Case(mtl.arch.aitm),
  "esmm": Case(mtl.arch.esmm),
  "omoe": Case(mtl.arch.omoe, {"experts": 3}, SHARED_STAGE),
  "cgc": Case(mtl.arch.cgc, {"task_experts": 1}, SHARED_STAGE),
  "ple": Case(mtl.arch.ple, {"shared_experts": 1}, SHARED_STAGE),
  "dselect_k": Case(mtl.arch.dselect_k, {"experts": 3}, SHARED_STAGE),
  "moe_topk": Case(mtl.arch.moe_topk, {"balance": "shazeer", "noise": True, "z_strength": 1e-3}, SHARED_STAGE),
}
