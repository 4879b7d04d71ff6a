"""PCGrad against plain numpy on vectors, closed form, golden values, and its random orders."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from mtl_jax.balance.pcgrad import project
from tests.balance._matrices import hostile, run, well_posed


def surgery(j: np.ndarray, orders) -> np.ndarray:
  """The update, by projecting the vectors themselves."""
  update = np.zeros(j.shape[1])
  for i, order in enumerate(orders):
    g = j[i].copy()
    for other in order:
      dot = g @ j[other]
      if other != i and dot < 0:
        g -= dot / (j[other] @ j[other]) * j[other]
    update += g
  return update


@pytest.mark.parametrize("tasks", [3, 9])
def test_equals_surgery_on_the_vectors_in_the_same_orders(tasks):
  rng = np.random.default_rng(tasks)
  matrices = well_posed(tasks).astype(np.float64)
  orders = np.stack([[rng.permutation(tasks) for _ in range(tasks)] for _ in matrices])
  grams = jnp.asarray(np.einsum("ntp,nsp->nts", matrices, matrices), jnp.float32)
  weights = jax.jit(jax.vmap(project))(grams, jnp.asarray(orders))
  for j, order, w in zip(matrices, orders, np.asarray(weights), strict=True):
    expected = surgery(j, order)
    # float32 coefficients of rows: rounding relative to the rows' lengths
    np.testing.assert_allclose(w @ j, expected, atol=1e-5 * np.linalg.norm(j, axis=1).sum())


def test_two_tasks_in_closed_form():
  j = well_posed(2)
  update, weights, _ = run("pcgrad", j)
  grams = np.einsum("ntp,nsp->nts", j, j)
  # c = -min(0, g1.g2): w1 = 1 + c / |g1|^2, w2 = 1 + c / |g2|^2
  conflict = -np.minimum(0.0, grams[:, 0, 1])
  expected = 1.0 + conflict[:, None] / np.diagonal(grams, axis1=1, axis2=2)
  np.testing.assert_allclose(weights, expected, rtol=1e-5)
  assert (conflict > 0).any() and (conflict == 0).any()


def test_golden_matrix():
  j = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  weights = project(jnp.asarray(j @ j.T, jnp.float32), jnp.array([[0, 1], [1, 0]]))
  np.testing.assert_allclose(weights, [1 + 22 / 18, 1 + 22 / 38], rtol=1e-6)
  np.testing.assert_allclose(weights @ j.astype(np.float32), [0.5848, 3.8012, 3.8012], atol=1e-4)


def test_each_task_draws_an_order_of_its_own_anew_each_step():
  # All pairs conflict, so that each of the 2^3 combinations of orders gives another update.
  j = np.array([[1.0, 0.1, 0.0], [-0.7, 1.3, 0.0], [-0.6, -1.0, 0.2]])
  gram = jnp.asarray(j @ j.T, jnp.float32)
  assert (np.asarray(gram)[~np.eye(3, dtype=bool)] < 0).all()
  expected = np.stack(
    [
      surgery(j, [(0, *a), (1, *b), (2, *c)])
      for a, b, c in itertools.product([(1, 2), (2, 1)], [(0, 2), (2, 0)], [(0, 1), (1, 0)])
    ]
  )
  balancer = mtl.balance.pcgrad(seed=3)

  def step(state, _):
    weights, state = balancer.weigh(Stats(jnp.ones(3), gram), state)
    return state, weights

  _, weights = jax.lax.scan(step, balancer.init(3), length=200)
  distance = np.abs(np.asarray(weights) @ j - expected[:, None]).max(axis=-1)  # (8, 200)
  assert (distance.min(axis=0) < 1e-5).all()
  # each of the 8 has probability 1/8: fewer than 5 of 200 has probability below 1e-6
  counts = np.bincount(distance.argmin(axis=0), minlength=8)
  assert counts.min() >= 5


def test_seeds_differ():
  assert not np.array_equal(
    jax.random.key_data(mtl.balance.pcgrad(0).init(3)), jax.random.key_data(mtl.balance.pcgrad(1).init(3))
  )


def test_tasks_without_gradient_are_left_alone():
  j = hostile(3)
  is_zero = np.abs(j).max(axis=2) == 0
  _, weights, _ = run("pcgrad", j)
  np.testing.assert_array_equal(weights[is_zero], 1.0)
