"""CAGrad: its limits, its ball, its optimality, and the gains it promises."""

import numpy as np
import pytest

import mtl_jax as mtl
from benchmarks._reference import least_norm
from tests.balance._matrices import well_posed
from tests.balance._weigh import products, weigh


def test_no_radius_is_the_mean_gradient(tasks=3):
  weights = weigh(mtl.balance.cagrad(c=0.0), products(well_posed(tasks)))
  np.testing.assert_allclose(weights, 1.0 / tasks, rtol=1e-6)


@pytest.mark.parametrize(("tasks", "c"), [(2, 0.4), (9, 0.4), (9, 1.5)])
def test_update_is_in_the_ball_and_its_worst_gain_the_best(tasks, c):
  j = well_posed(tasks).astype(np.float64)
  j[::3, 0] -= 3 * j[::3, 1]  # conflicts
  update = np.einsum("nt,ntp->np", weigh(mtl.balance.cagrad(c=c, rescale=0), products(j)), j)
  mean = j.mean(axis=1)
  radius = c * np.linalg.norm(mean, axis=1)
  # Weights are divided by |g_w|, which has fewer digits where it is small.
  assert (np.linalg.norm(update - mean, axis=1) <= radius * (1 + 1e-3)).all()
  gains = np.einsum("ntp,np->nt", j, update)
  for rows, g0, worst in zip(j, mean, gains.min(axis=1), strict=True):
    # By duality the least of the paper's objective is the best worst gain in the ball.
    best = least_norm(rows.T, rows @ g0, c * np.linalg.norm(g0))
    scale = np.linalg.norm(g0) * np.linalg.norm(rows, axis=1).max()
    assert abs(worst - best.value) < 1e-3 * scale  # the root of what float32 keeps of |g_w|
  if c > 1:
    assert (gains > -1e-3 * np.linalg.norm(j, axis=2) * np.linalg.norm(update, axis=1, keepdims=True)).all()


@pytest.mark.slow
def test_divisors():
  gram = products(well_posed(2)[:1])

  plain, once, twice = (weigh(mtl.balance.cagrad(c=0.5, rescale=r), gram) for r in (0, 1, 2))
  np.testing.assert_allclose(once, plain / 1.25, rtol=1e-6)
  np.testing.assert_allclose(twice, plain / 1.5, rtol=1e-6)


@pytest.mark.parametrize(("c", "rescale"), [(-0.1, 1), (0.5, 3)])
def test_options_out_of_range(c, rescale):
  with pytest.raises(mtl.UserError, match=f"cagrad: c is {c} and rescale {rescale}, expected c of at least 0 and"):
    mtl.balance.cagrad(c=c, rescale=rescale)
