"""`zeros`, how much of a model is zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from mtl_jax._core.packed import unpacked
from mtl_jax._core.paths import by_path


def zeros(params: Any) -> dict[str, float]:
  """The share of zeros in each leaf of two or more axes.

  Args:
    params: The parameters, such as `mtl.Fit.params`.

  Returns:
    `{path: share}`, with paths such as `shared/Dense_0/kernel`.

  >>> zeros({"shared": {"kernel": np.eye(4), "bias": np.zeros(4)}})
  {'shared/kernel': 0.75}
  """
  leaves = {path: np.asarray(leaf) for path, leaf in by_path(unpacked(params)).items()}
  return {path: float(np.mean(leaf == 0)) for path, leaf in leaves.items() if leaf.ndim > 1}
