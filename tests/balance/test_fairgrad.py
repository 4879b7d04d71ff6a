"""FairGrad: its equation, closed form, its relation to Nash-MTL, and what alpha is for."""

import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._matrices import well_posed
from tests.balance._weigh import products, weigh


@pytest.mark.parametrize("alpha", [0.5, 5.0])
def test_solves_its_equation(alpha):
  grams = products(well_posed(9))
  w = weigh(mtl.balance.fairgrad(alpha), grams)
  assert (w > 0).all()
  scale = w ** (1 / alpha)
  residual = np.abs(scale * np.einsum("nts,ns->nt", grams, w) - 1.0).max(axis=1)
  rounding = np.finfo(np.float32).eps * (scale * np.einsum("nts,ns->nt", np.abs(grams), w)).max(axis=1)
  assert (residual < 20 * rounding).all()
  assert np.median(residual) < 1e-5


@pytest.mark.parametrize("alpha", [0.5, 3.0])
def test_orthogonal_gradients_in_closed_form(alpha):
  squares = np.array([1e-3, 1.0, 50.0])
  w = weigh(mtl.balance.fairgrad(alpha), np.diag(squares)[None])
  np.testing.assert_allclose(w[0], squares ** (-alpha / (1 + alpha)), rtol=1e-5)


def test_proportional_fairness_is_the_direction_of_nash():
  grams = products(well_posed(3))
  fair, nash = weigh(mtl.balance.fairgrad(1.0), grams), weigh(mtl.balance.nash(max_norm=0.0), grams)
  np.testing.assert_allclose(fair / nash, np.broadcast_to((fair / nash)[:, :1], fair.shape), rtol=1e-4)


def test_the_worst_off_task_gains_more_with_a_larger_alpha():
  grams = products(well_posed(3))

  def worst(alpha):
    w = weigh(mtl.balance.fairgrad(alpha), grams)
    gains = np.einsum("nts,ns->nt", grams, w)
    return gains.min(axis=1) / np.sqrt(np.einsum("nt,nt->n", w, gains))  # for an update of length 1

  worsts = [worst(alpha) for alpha in (0.5, 2.0, 5.0)]
  assert all((after >= before * (1 - 1e-4)).all() for before, after in zip(worsts, worsts[1:], strict=False))
  assert (worsts[-1] > 1.1 * worsts[0]).any()


def test_alpha_of_zero():
  with pytest.raises(mtl.UserError, match="fairgrad: alpha is 0.0, expected above 0"):
    mtl.balance.fairgrad(0.0)
