"""UPGrad and DualProj: projections on the dual cone of the gradients, by alternating projections of the vectors."""

import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._matrices import run, well_posed
from tests.balance._weigh import products, weigh

PREFERENCE = [0.0, 2.0, 1.0]


def conflicting(tasks: int) -> np.ndarray:
  j = well_posed(tasks).astype(np.float64)
  j[::2, 0] -= 2 * j[::2, 1]
  return j


def project(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
  """The nearest point to a vector with no negative product with any row, by Dykstra's alternating projections."""
  x, corrections = vector.copy(), np.zeros_like(rows)
  for _ in range(1000):
    for i, row in enumerate(rows):
      ahead = x + corrections[i]
      x = ahead - min(0.0, ahead @ row) / (row @ row) * row
      corrections[i] = ahead - x
  return x


def test_upgrad_sums_the_projections_of_the_gradients():
  j = conflicting(3)[:8]
  weights = weigh(mtl.balance.upgrad(preference=PREFERENCE), products(j))
  expected = [sum(project(rows, share * row) for share, row in zip(PREFERENCE, rows, strict=True)) for rows in j]
  np.testing.assert_allclose(np.einsum("nt,ntp->np", weights, j), expected, atol=2e-3)


def test_dualproj_projects_the_weighted_sum():
  j = conflicting(3)[:8]
  weights = weigh(mtl.balance.dualproj(preference=PREFERENCE), products(j))
  expected = [project(rows, np.array(PREFERENCE) @ rows) for rows in j]
  np.testing.assert_allclose(np.einsum("nt,ntp->np", weights, j), expected, atol=2e-3)


def test_upgrad_of_two_tasks_is_half_of_pcgrad():
  j = conflicting(2)
  _, pcgrad, _ = run("pcgrad", j.astype(np.float32))
  upgrad = weigh(mtl.balance.upgrad(), products(j))
  np.testing.assert_allclose(2 * upgrad, pcgrad, rtol=1e-4)
  assert (pcgrad > 1.01).any() and (pcgrad == 1.0).any()


@pytest.mark.parametrize("make", [mtl.balance.upgrad, mtl.balance.dualproj])
def test_without_conflicts_the_weights_are_the_preference(make):
  j = np.abs(well_posed(3))
  np.testing.assert_allclose(weigh(make(preference=PREFERENCE), products(j)), [PREFERENCE] * len(j), atol=1e-6)


@pytest.mark.parametrize("make", [mtl.balance.upgrad, mtl.balance.dualproj])
def test_small_gradients_count_as_none(make):
  j = np.concatenate([conflicting(3), 1e-4 * conflicting(3)])
  is_conflicting = np.abs(weigh(make(norm_eps=1.0), products(j)) - 1 / 3).max(axis=1) > 1e-3
  assert is_conflicting[: len(j) // 2].any() and not is_conflicting[len(j) // 2 :].any()


@pytest.mark.parametrize("name", ["upgrad", "dualproj"])
def test_bad_options(name):
  make = getattr(mtl.balance, name)
  with pytest.raises(mtl.UserError, match=f"{name}: norm_eps is -1.0 and reg_eps 0.0, expected both at least 0"):
    make(norm_eps=-1.0)
  with pytest.raises(mtl.UserError, match=f"{name}: preference has 3 entries, expected 2, one per task"):
    make(preference=PREFERENCE).init(2)
  with pytest.raises(mtl.UserError, match=rf"{name}: preference is \[1.0, -1.0\], expected no negative"):
    make(preference=[1.0, -1.0])
