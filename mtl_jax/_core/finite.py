"""Numbers that JSON cannot hold."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
  """What JSON can hold: None in place of NaN and infinity, in dictionaries, lists and tuples too.

  >>> finite({"a": [1.5, float("nan")]})
  {'a': [1.5, None]}
  """
  if isinstance(value, dict):
    return {key: finite(part) for key, part in value.items()}
  if isinstance(value, list | tuple):
    return [finite(part) for part in value]
  return value if not isinstance(value, float) or math.isfinite(value) else None
