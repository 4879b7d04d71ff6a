"""Frozen parameters: those that a training leaves as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax._core.partition import partition
from mtl_jax._core.paths import by_path, check_patterns

Frozen = str | Sequence[str]
"""Regular expressions, searched for in the paths of parameters, such as `shared/Dense_0/`."""


def split_frozen(params: Any, frozen: Frozen) -> tuple[Any, Any]:
  """The parameters that are trained, and the frozen ones, whose paths match; None in the places of the others.

  Raises:
    UserError: A pattern that is no regular expression or matches nothing, or nothing is left to train.

  >>> split_frozen({"shared": {"low": 1.0, "high": 2.0}, "task": {}}, "shared/low")[0]
  {'shared': {'high': 2.0, 'low': None}, 'task': {}}
  """
  patterns = [frozen] if isinstance(frozen, str) else list(frozen)
  paths = list(by_path(params))
  check_patterns("frozen", patterns, paths)
  trained, fixed = partition(params, lambda path, _: not any(re.search(pattern, path) for pattern in patterns))
  if paths and not by_path(trained):
    raise UserError("frozen: all parameters match, so nothing is left to train: choose narrower patterns.")
  return trained, fixed
