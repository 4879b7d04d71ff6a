"""Priority-constrained descent against the enumeration of all sets of active constraints, on the vectors themselves."""

import itertools

import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._sequence import gradients, run_steps


def direction(g: np.ndarray, tau: np.ndarray, main: int) -> np.ndarray | None:
  """argmin |d - g_main| over d with g_i . d >= tau_i |g_i|^2; None: there is none."""
  others = [i for i in range(len(g)) if i != main]
  bound = tau * (g**2).sum(axis=1)
  for active in itertools.chain.from_iterable(itertools.combinations(others, n) for n in range(len(g))):
    rows = g[list(active)]
    if np.linalg.matrix_rank(rows) < len(rows):
      continue
    mu = np.linalg.solve(rows @ rows.T, bound[list(active)] - rows @ g[main]) if active else np.zeros(0)
    d = g[main] + mu @ rows
    if (mu >= 0).all() and all(g[i] @ d >= bound[i] - 1e-9 for i in others):
      return d
  return None


@pytest.mark.parametrize(("tasks", "main"), [(2, 0), (3, 1), (5, 4)])
def test_nearest_direction_with_the_length_of_the_main_gradient(tasks, main):
  j = gradients(40, tasks, seed=1)
  tau = np.linspace(0.0, 0.5, tasks)
  updates, weights, state = run_steps(mtl.balance.pcd(tau=tau.tolist(), main=main, beta=0.9), j)
  squares, bent = np.zeros(tasks), 0
  for k, g in enumerate(j.astype(np.float64), 1):
    squares = 0.9 * squares + 0.1 * (g**2).sum(axis=1)
    d = direction(g / np.sqrt(squares / (1 - 0.9**k))[:, None], tau, main)
    assert d is not None
    expected = d * np.linalg.norm(g[main]) / np.linalg.norm(d)
    np.testing.assert_allclose(updates[k - 1], expected, atol=2e-3 * np.linalg.norm(g[main]))
    bent += not np.allclose(expected, g[main])
  assert 5 < bent and state.feasible == 1.0
  assert (weights >= 0).all()


def test_without_conflict_it_is_the_main_gradient():
  j = np.array([[[1.0, 0, 0, 0], [1.0, 1.0, 0, 0], [2.0, 0, 1.0, 0]]], np.float32)
  updates, weights, _ = run_steps(mtl.balance.pcd(tau=0.1), j)
  np.testing.assert_allclose(updates[0], j[0, 0], atol=1e-5)
  np.testing.assert_allclose(weights[0], [1.0, 0.0, 0.0], atol=1e-5)


def test_constraints_that_exclude_each_other_are_dropped():
  j = np.array([[[1.0, 0.5, 0, 0], [0, 1.0, 0, 0], [0, -2.0, 0, 0]]], np.float32)
  updates, _, state = run_steps(mtl.balance.pcd(tau=0.2), j)
  assert direction(j[0].astype(np.float64), np.full(3, 0.2), 0) is None
  np.testing.assert_allclose(updates[0], j[0, 0], rtol=1e-5)
  assert mtl.balance.pcd().report(state)["feasible"] == 0.0


def test_no_main_gradient_no_update_and_no_auxiliary_gradient_no_constraint():
  j = gradients(2, 3)
  j[0, 0], j[1, 2] = 0.0, 0.0
  updates, _, _ = run_steps(mtl.balance.pcd(), j)
  np.testing.assert_array_equal(updates[0], 0.0)
  np.testing.assert_allclose(np.linalg.norm(updates[1]), np.linalg.norm(j[1, 0]), rtol=1e-4)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"tau": 1.5}, "tau is 1.5"),
    ({"beta": 1.0}, "beta 1.0"),
    ({"main": 3}, "main is 3, expected from 0 to 2"),
    ({"tau": [0.1, 0.2]}, "tau has 2 entries, expected 3"),
  ],
)
def test_mistakes(options, message):
  with pytest.raises(mtl.UserError, match=message):
    mtl.balance.pcd(**options).init(3)
