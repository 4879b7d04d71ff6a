"""Gradient Vaccine against plain numpy on vectors in the same orders, and its moving targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from mtl_jax.balance.gradvac import vaccinate
from tests.balance._matrices import run, well_posed
from tests.balance._weigh import products


def vaccine(j: np.ndarray, target: np.ndarray, orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The update and the cosines met, on the vectors themselves."""
  update, met = np.zeros(j.shape[1]), np.zeros(target.shape)
  for i, order in enumerate(orders):
    g = j[i].copy()
    for other in order[order != i]:
      size, other_size = np.linalg.norm(g), np.linalg.norm(j[other])
      phi, rho = g @ j[other] / (size * other_size), target[i, other]
      met[i, other] = phi
      if phi < rho:
        sine = np.sqrt(1 - rho**2)
        g += size * (rho * np.sqrt(1 - phi**2) - phi * sine) / (other_size * sine) * j[other]
        np.testing.assert_allclose(g @ j[other] / (np.linalg.norm(g) * other_size), rho, atol=1e-9)
    update += g
  return update, met


@pytest.mark.parametrize("tasks", [3, 9])
def test_equals_vaccines_of_the_vectors_in_the_same_orders(tasks):
  rng = np.random.default_rng(tasks)
  matrices = well_posed(tasks).astype(np.float64)
  orders = np.stack([[rng.permutation(tasks) for _ in range(tasks)] for _ in matrices])
  targets = rng.uniform(-0.5, 0.5, (len(matrices), tasks, tasks))
  grams = jnp.asarray(products(matrices), jnp.float32)
  weights, met, _ = jax.jit(jax.vmap(vaccinate))(grams, jnp.asarray(targets, jnp.float32), jnp.asarray(orders))
  for j, target, order, w, cosines in zip(matrices, targets, orders, weights, met, strict=True):
    expected, expected_met = vaccine(j, target, order)
    np.testing.assert_allclose(np.asarray(w) @ j, expected, atol=1e-4 * np.abs(w).max() * np.linalg.norm(j))
    np.testing.assert_allclose(np.where(np.eye(tasks), 0.0, cosines), expected_met, atol=1e-3)


def test_the_first_step_is_pcgrad():
  j = well_posed(2)
  step = jax.jit(jax.vmap(lambda g: balancer.weigh(Stats(jnp.ones(2), g), balancer.init(2))))
  balancer = mtl.balance.gradvac()
  weights, states = step(jnp.asarray(products(j), jnp.float32))
  np.testing.assert_allclose(weights, run("pcgrad", j)[1], rtol=1e-4)
  cosines = np.einsum("np,np->n", j[:, 0], j[:, 1]) / np.linalg.norm(j, axis=2).prod(axis=1)
  # Both meet the other's plain gradient: half of the way from 0 to its cosine.
  np.testing.assert_allclose(states.target[:, 0, 1], cosines / 2, atol=1e-5)
  np.testing.assert_allclose(states.target[:, 1, 0], cosines / 2, atol=1e-5)


def test_targets_settle_at_constant_cosines():
  j = np.array([[1.0, 0.2, 0.0], [0.8, 0.1, 1.0]])
  gram = jnp.asarray(j @ j.T, jnp.float32)
  balancer = mtl.balance.gradvac(beta=0.2)

  def step(state, _):
    weights, state = balancer.weigh(Stats(jnp.ones(2), gram), state)
    return state, weights

  state, weights = jax.lax.scan(step, balancer.init(2), length=100)
  cosine = j[0] @ j[1] / np.linalg.norm(j, axis=1).prod()
  np.testing.assert_allclose(state.target, [[0.0, cosine], [cosine, 0.0]], atol=1e-5)
  np.testing.assert_allclose(weights, 1.0, atol=1e-3)  # no cosine is below its target


@pytest.mark.parametrize("beta", [-0.1, 1.5])
def test_beta_out_of_range(beta):
  with pytest.raises(mtl.UserError, match=f"gradvac: beta is {beta}, expected from 0 to 1"):
    mtl.balance.gradvac(beta=beta)
