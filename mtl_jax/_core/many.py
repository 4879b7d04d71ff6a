"""What is shown of many tasks: of a few everything, of more the mean and the extremes."""

from __future__ import annotations

import math
from collections.abc import Mapping

FEW = 8
"""Up to so many tasks are shown one by one."""


def mean(values: Mapping[str, float]) -> float:
  """The mean of the finite values; NaN where there are none.

  >>> mean({"a": 1.0, "b": 3.0, "c": math.nan})
  2.0
  """
  finite = [value for value in values.values() if math.isfinite(value)]
  return sum(finite) / len(finite) if finite else math.nan


def worst_first(values: Mapping[str, float], higher_is_better: bool = False) -> list[str]:
  """The names from the worst value to the best, NaN first.

  >>> worst_first({"a": 1.0, "b": 3.0, "c": math.nan})
  ['c', 'b', 'a']
  """
  sign = 1 if higher_is_better else -1
  return sorted(values, key=lambda name: -math.inf if math.isnan(values[name]) else sign * values[name])
