"""GradDrop: its probabilities, what it keeps, and the leak, by plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from tests.balance._sequence import run_steps

J = np.array([[1.0, -1.0, 2.0, 0.0, 3.0], [-3.0, -1.0, -3.0, 0.0, -1.0], [1.0, -2.0, 1.0, 0.0, 0.5]], np.float32)


def draws(balancer, steps: int = 2000) -> np.ndarray:
  return run_steps(balancer, np.broadcast_to(J, (steps, *J.shape)))[0]


@pytest.mark.parametrize(("f", "name"), [(None, "identity"), (lambda p: p**2, "square")])
def test_one_sign_a_coordinate_with_the_probability_of_its_purity(f, name):
  updates = draws(mtl.balance.graddrop(f=f))
  positive, negative = np.maximum(J, 0).sum(axis=0), np.minimum(J, 0).sum(axis=0)
  is_positive = np.isclose(updates, positive) & (positive > 0)
  assert (is_positive | np.isclose(updates, negative)).all()
  sums = np.abs(J).sum(axis=0)
  purity = 0.5 * (1 + J.sum(axis=0) / np.where(sums > 0, sums, 1))
  expected = np.where(positive > 0, purity if f is None else f(purity), 0.0)
  # 2000 draws: a standard deviation of at most 0.011
  np.testing.assert_allclose(is_positive.mean(axis=0), expected, atol=0.05)
  # coordinates are drawn independently, of one parameter (2, 4) and of two: both are positive as often as the product
  for one, two in [(2, 4), (0, 2), (0, 4)]:
    both = (is_positive[:, one] & is_positive[:, two]).mean()
    np.testing.assert_allclose(both, expected[one] * expected[two], atol=0.05)


def test_leak_passes_a_share_of_each_tasks_gradient():
  leak = np.array([1.0, 0.25, 0.0])
  dropped, leaking = draws(mtl.balance.graddrop(), 20), draws(mtl.balance.graddrop(leak=leak.tolist()), 20)
  kept_positive = np.isclose(dropped, np.maximum(J, 0).sum(axis=0))
  for update, positive in zip(leaking, kept_positive, strict=True):
    mask = np.where(positive, J > 0, J < 0)
    np.testing.assert_allclose(update, ((leak[:, None] + (1 - leak[:, None]) * mask) * J).sum(axis=0), rtol=1e-5)
  np.testing.assert_allclose(draws(mtl.balance.graddrop(leak=1.0), 2), [J.sum(axis=0)] * 2, rtol=1e-6)


def test_key_moves_and_seeds_differ():
  rows = [jnp.asarray(J)]
  balancer = mtl.balance.graddrop(seed=1)
  _, weights, key = balancer.combine(Stats(jnp.ones(3), rows=rows), balancer.init(3))
  assert weights.tolist() == [1.0, 1.0, 1.0]
  keys = [balancer.init(3), key, mtl.balance.graddrop(seed=2).init(3)]
  assert len({tuple(jax.random.key_data(k).tolist()) for k in keys}) == 3


def test_mistakes():
  with pytest.raises(mtl.UserError, match="leak is 1.5"):
    mtl.balance.graddrop(leak=1.5)
  with pytest.raises(mtl.UserError, match="leak has 2 entries, expected 3"):
    mtl.balance.graddrop(leak=[0.1, 0.2]).init(3)
