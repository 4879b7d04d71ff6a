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
  """

  make: Callable[..., mtl.Net]
  options: dict[str, Any] = {}
  on_tokens: dict[str, Any] = {}
  cut: bool = True
  middle: bool = False
  own: str = "$^"


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
}
