"""Architectures by name: what all of them are called, and the one that a name stands for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from mtl_jax._core.errors import UserError
from mtl_jax._core.named import described, function_of, required
from mtl_jax.net import Net

Architecture = Callable[[Net, Mapping[str, Net]], Net]
"""`architecture(trunk, {task: head}) -> net`."""

PARTS = ("trunk", "heads")
"""What every architecture is given."""


def names() -> tuple[str, ...]:
  """The names of all architectures, each a function of this module that takes a trunk and heads."""
  return (
    "adapters",
    "adashare",
    "aitm",
    "cgc",
    "cross_stitch",
    "dselect_k",
    "esmm",
    "film",
    "hard_sharing",
    "lora",
    "ltb",
    "mmoe",
    "moe_topk",
    "mtan",
    "mtl_lora",
    "mtlora",
    "omoe",
    "ple",
    "prompt",
    "sluice",
    "soft_sharing",
    "task_attention",
    "task_routing",
    "tree",
  )


def as_arch(given: Any, what: str = "arch") -> Architecture:
  """The architecture that is given, or that a name stands for, with its defaults.

  Args:
    given: A function of trunk and heads, such as `functools.partial(mtl.arch.mmoe, experts=8)`, or one of `names()`.
    what: Which option it is, for messages.

  Returns:
    The architecture.

  Raises:
    UserError: An unknown name, one that needs more than trunk and heads, or something else.

  >>> as_arch("mmoe").__name__
  'mmoe'
  """
  if not isinstance(given, str):
    if callable(given) and not inspect.isclass(given):
      return cast(Architecture, given)
    raise UserError(
      f"{what} is {described(given)}, expected a name, such as 'mmoe', or a function of trunk and heads, such as "
      "functools.partial(mtl.arch.mmoe, experts=8)."
    )
  function: Any = function_of(what, given, "mtl_jax.arch", names())
  if needed := [name for name in required(function) if name not in PARTS]:
    arguments = ", ".join(f"{name}=..." for name in needed)
    raise UserError(
      f"{what} {given!r} needs {', '.join(needed)}: pass functools.partial(mtl.arch.{given}, {arguments})."
    )
  return function
