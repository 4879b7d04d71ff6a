"""The 8 x 8 digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from mtl_jax._core.extras import extra


def digits() -> dict[str, np.ndarray]:
  """1797 handwritten digits of 8 x 8 grey values, from scikit-learn, offline.

  Returns:
    `x` (1797, 8, 8) float32 in [0, 1] and `y` (1797,) int32 in [0, 10).

  Raises:
    UserError: scikit-learn is not installed.

  References:
    Alpaydin and Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998.
  """
  with extra("tables", "the digits data set needs scikit-learn"):
    from sklearn.datasets import load_digits
  x, y = map(np.asarray, load_digits(return_X_y=True))
  return {"x": (x.reshape(-1, 8, 8) / 16).astype(np.float32), "y": y.astype(np.int32)}
