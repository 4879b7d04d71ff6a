"""ExcessMTL against its formula in numpy."""

import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._sequence import gradients, run_steps


def test_multiplicative_weights_on_relative_excess_risks():
  j = gradients(8, 3)
  j[:, 1] *= 0.6 ** np.arange(8)[:, None]  # this task converges
  updates, weights, _ = run_steps(mtl.balance.excess(eta=0.5), j)
  squares, w, first = np.zeros(j.shape[1:]), np.full(3, 1 / 3), None
  for g, update, found in zip(j.astype(np.float64), updates, weights, strict=True):
    squares += g**2
    risk = (g**2 / np.sqrt(squares)).sum(axis=1)
    first = risk if first is None else first
    w = w * np.exp(0.5 * risk / first)
    w /= w.sum()
    np.testing.assert_allclose(found, w, rtol=1e-4)
    np.testing.assert_allclose(update, w @ g, rtol=1e-3, atol=1e-5)
  assert w.argmin() == 1


def test_scales_of_tasks_do_not_matter():
  j = gradients(6, 3)
  _, weights, _ = run_steps(mtl.balance.excess(eta=0.5), j)
  _, scaled, _ = run_steps(mtl.balance.excess(eta=0.5), j * np.array([1e6, 1.0, 1e-6], np.float32)[:, None])
  np.testing.assert_allclose(scaled, weights, rtol=1e-5)


def test_a_task_that_starts_late_is_measured_from_its_first_gradient():
  j = gradients(4, 2)
  j[:2, 1] = 0.0
  _, weights, state = run_steps(mtl.balance.excess(eta=0.5), j)
  squares = j[2, 1].astype(np.float64) ** 2
  np.testing.assert_allclose(state.initial[1], (squares / np.sqrt(squares)).sum(), rtol=1e-4)
  assert np.isfinite(weights).all() and (weights[:2, 1] < 0.5).all()


def test_huge_relative_risks_stay_finite():
  j = gradients(3, 2)
  j[0] *= 1e-15
  j[1:, 0] *= 1e15
  _, weights, state = run_steps(mtl.balance.excess(eta=10.0), j)
  np.testing.assert_allclose(weights[-1], [1.0, 0.0], atol=1e-6)
  assert np.isfinite(state.log_weights).all()


def test_mistakes():
  with pytest.raises(mtl.UserError, match="eta is 0"):
    mtl.balance.excess(eta=0.0)
