"""What a model says, by one name for each array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """`{"<task>.<output>": array}` of `{task: {output: array}}`, as files of predictions and exported models have it.

  >>> flat({"a": {"class": 1, "probability": 2}})
  {'a.class': 1, 'a.probability': 2}
  """
  return {f"{task}.{name}": value for task, named in outputs.items() for name, value in named.items()}
