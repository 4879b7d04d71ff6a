"""SDMGrad and MoDo against their formulas in numpy, and what double sampling is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from tests.balance._sequence import gradients, project


def halves(steps: int, tasks: int = 3) -> np.ndarray:
  """J_1 J_2^T of each step."""
  j = gradients(2 * steps, tasks).astype(np.float64)
  return np.einsum("ntp,nsp->nts", j[::2], j[1::2])


@pytest.mark.parametrize(("lam", "momentum"), [(0.3, 0.5), (0.0, 0.0)])
def test_sdmgrad_by_hand(lam, momentum):
  balancer = mtl.balance.sdmgrad(lam, learning_rate=0.7, momentum=momentum, steps=5)
  weigh, state, w = jax.jit(balancer.weigh), balancer.init(3), np.full(3, 1 / 3)
  for matrix in halves(4):
    stats = Stats(jnp.ones(3), jnp.eye(3), jnp.asarray(matrix, jnp.float32))
    weights, state = weigh(stats, state)
    matrix = matrix / np.mean(np.sqrt(np.maximum(np.diag(matrix), 0))) ** 2
    velocity = np.zeros(3)
    for _ in range(5):
      velocity = momentum * velocity + matrix @ (w + lam / 3)
      w = project(w - 0.7 * velocity)
    np.testing.assert_allclose(weights, (w + lam / 3) / (1 + lam), atol=1e-4)
  assert np.ptp(w) > 0.05


def test_sdmgrad_goes_from_the_least_norm_to_the_mean():
  j = gradients(1, 3)[0]
  gram = jnp.asarray(j @ j.T)
  stats = Stats(jnp.ones(3), gram, gram)

  def weights(lam):
    balancer = mtl.balance.sdmgrad(lam, learning_rate=0.1, steps=2000)
    return np.asarray(jax.jit(balancer.weigh)(stats, balancer.init(3))[0])

  mgda = mtl.balance.mgda()
  np.testing.assert_allclose(weights(0.0), jax.jit(mgda.weigh)(stats, mgda.init(3))[0], atol=1e-3)
  np.testing.assert_allclose(weights(1e3), 1 / 3, atol=1e-3)


def test_sdmgrad_survives_halves_that_oppose_each_other():
  balancer = mtl.balance.sdmgrad()
  weigh = jax.jit(balancer.weigh)
  for scale in (1e-20, 1.0, 1e30):
    weights, _ = weigh(Stats(jnp.ones(2), jnp.eye(2), -scale * jnp.eye(2)), balancer.init(2))
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-5)


def test_modo_by_hand():
  balancer = mtl.balance.modo(gamma=0.05, rho=0.2)
  state, lam = balancer.init(3), np.full(3, 1 / 3)
  for matrix in halves(5):
    weights, state = balancer.weigh(Stats(jnp.ones(3), jnp.eye(3), jnp.asarray(matrix, jnp.float32)), state)
    lam = project(lam - 0.05 * (matrix + 0.2 * np.eye(3)) @ lam)
    np.testing.assert_allclose(weights, lam, atol=1e-5)
  assert np.ptp(lam) > 0.05


@pytest.mark.parametrize("make", [mtl.balance.sdmgrad, mtl.balance.modo])
def test_a_third_part_of_the_batch_is_an_option(make):
  assert make().shares == (0.5, 0.5) and make(third=True).shares == (0.0, 0.0, 1.0)
  assert make().needs == {"gram", "cross_gram"}


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: mtl.balance.sdmgrad(lam=-1), "lam is -1"),
    (lambda: mtl.balance.sdmgrad(steps=0), "steps 0"),
    (lambda: mtl.balance.sdmgrad(momentum=1.0), "momentum 1.0"),
    (lambda: mtl.balance.modo(gamma=0.0), "gamma is 0.0"),
    (lambda: mtl.balance.modo(rho=-1.0), "rho -1.0"),
  ],
)
def test_mistakes(make, message):
  with pytest.raises(mtl.UserError, match=message):
    make()
