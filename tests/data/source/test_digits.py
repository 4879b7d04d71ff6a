"""scikit-learn's digits."""

import sys

import numpy as np
import pytest

from mtl_jax import UserError, data


def test_digits():
  pytest.importorskip("sklearn")
  digits = data.source.digits()
  assert digits["x"].shape == (1797, 8, 8) and digits["x"].dtype == np.float32
  assert digits["x"].min() == 0 and digits["x"].max() == 1
  assert digits["y"].shape == (1797,) and digits["y"].dtype == np.int32
  assert digits["y"][:10].tolist() == list(range(10))  # The file begins with one digit of each class.


def test_without_scikit_learn(monkeypatch):
  monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
  with pytest.raises(UserError, match=r"pip install 'mtl-jax\[tables\]'"):
    data.source.digits()
