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
    own: A regular expression for paths of shared parameters in which only one task, or none, has a gradient.
  """

  make: Callable[..., mtl.Net]
  options: dict[str, Any] = {}
  on_tokens: dict[str, Any] = {}
  cut: bool = True
  own: str = "$^"


SHARED_STAGE = {"shared_stages": 1}

TABLE: dict[str, Case] = {
  "hard_sharing": Case(mtl.arch.hard_sharing),
  "cross_stitch": Case(mtl.arch.cross_stitch),
  "mmoe": Case(mtl.arch.mmoe, {"experts": 3}, SHARED_STAGE),
  "omoe": Case(mtl.arch.omoe, {"experts": 3}, SHARED_STAGE),
  "cgc": Case(mtl.arch.cgc, {"task_experts": 1}, SHARED_STAGE),
  "ple": Case(mtl.arch.ple, {"shared_experts": 1}, SHARED_STAGE),
  "dselect_k": Case(mtl.arch.dselect_k, {"experts": 3}, SHARED_STAGE),
  "moe_topk": Case(mtl.arch.moe_topk, {"balance": "shazeer", "noise": True, "z_strength": 1e-3}, SHARED_STAGE),
}
