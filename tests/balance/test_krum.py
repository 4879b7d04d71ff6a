"""Krum against its definition on vectors, outliers, and its limits on the number of tasks."""

import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._matrices import well_posed
from tests.balance._weigh import products, weigh


def selected(rows: np.ndarray, byzantine: int, count: int) -> np.ndarray:
  squares = np.sum((rows[:, None] - rows[None]) ** 2, axis=2)
  scores = [np.sort(np.delete(squares[i], i))[: len(rows) - byzantine - 2].sum() for i in range(len(rows))]
  weights = np.zeros(len(rows))
  weights[np.argsort(scores)[:count]] = 1.0 / count
  return weights


@pytest.mark.parametrize(("byzantine", "count"), [(0, 1), (2, 1), (2, 4), (6, 9)])
def test_selects_by_the_definition(byzantine, count):
  j = well_posed(9).astype(np.float64)
  weights = weigh(mtl.balance.krum(byzantine, count), products(j))
  np.testing.assert_allclose(weights, [selected(rows, byzantine, count) for rows in j], rtol=1e-6)


def test_outliers_weigh_nothing():
  rng = np.random.default_rng(0)
  j = rng.normal(size=11) + 0.1 * rng.normal(size=(20, 9, 11))
  j[:, 2:5] = 100 * rng.normal(size=(20, 3, 11))
  weights = weigh(mtl.balance.krum(3, 4), products(j))
  assert (weights[:, 2:5] == 0).all()
  np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)


def test_bad_options():
  with pytest.raises(mtl.UserError, match="krum: n_byzantine is -1 and n_selected 1, expected at least 0 and"):
    mtl.balance.krum(-1)
  with pytest.raises(mtl.UserError, match="krum: n_byzantine is 0 and n_selected 0, expected at least 0 and"):
    mtl.balance.krum(0, 0)
  with pytest.raises(mtl.UserError, match="krum: 4 tasks, expected at least 5 with n_byzantine=2, n_selected=1"):
    mtl.balance.krum(2).init(4)
