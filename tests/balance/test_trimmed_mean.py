"""The trimmed mean against numpy, and what it is for: outliers."""

import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._sequence import gradients, run_steps


@pytest.mark.parametrize("k", [0, 1, 2])
def test_mean_of_the_sorted_middle(k):
  j = gradients(3, 5)
  updates, weights, _ = run_steps(mtl.balance.trimmed_mean(k), j)
  np.testing.assert_allclose(updates, np.sort(j, axis=1)[:, k : 5 - k].mean(axis=1), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(weights, 0.2, rtol=1e-6)


def test_k_arbitrary_gradients_do_not_move_it_out_of_the_others():
  j = gradients(1, 5)
  j[0, 1], j[0, 3] = 1e20, -1e20
  updates, _, _ = run_steps(mtl.balance.trimmed_mean(2), j)
  good = j[0, [0, 2, 4]]
  assert (updates[0] >= good.min(axis=0)).all() and (updates[0] <= good.max(axis=0)).all()


def test_mistakes():
  with pytest.raises(mtl.UserError, match="k is -1"):
    mtl.balance.trimmed_mean(-1)
  with pytest.raises(mtl.UserError, match="4 tasks, expected at least 5 with k=2"):
    mtl.balance.trimmed_mean(2).init(4)
