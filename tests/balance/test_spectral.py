"""The methods by eigenvalues, Aligned-MTL, IMTL-G and ConFIG, against the gradients' own matrices in numpy."""

import inspect

import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._matrices import well_posed
from tests.balance._weigh import products, weigh

PREFERENCE = np.array([0.5, 2.0, 1.0])


def updates(balancer, j: np.ndarray) -> np.ndarray:
  return np.einsum("nt,ntp->np", weigh(balancer, products(j)), j.astype(np.float64))


def well_conditioned(tasks: int, limit: float = 50.0) -> np.ndarray:
  # float32 G keeps eigenvalues down to the square of the limit by rounding
  j = well_posed(tasks).astype(np.float64)
  values = np.linalg.svd(j, compute_uv=False)
  return j[values[:, 0] < limit * values[:, -1]]


def relative(found: np.ndarray, expected: np.ndarray) -> float:
  return (np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max()


@pytest.mark.parametrize(("scale", "tasks"), [("min", 9), ("median", 2), ("median", 9), ("rmse", 9)])
def test_aligned_gradients_are_orthogonal_and_of_equal_length(tasks, scale):
  j = well_conditioned(tasks)
  left, values, right = np.linalg.svd(j, full_matrices=False)
  chosen = {
    "min": values[:, -1],
    "median": values[:, tasks // 2],  # of falling values the lower median
    "rmse": np.sqrt(np.mean(values**2, axis=1)),
  }[scale]
  aligned = chosen[:, None, None] * (left @ right)
  assert relative(updates(mtl.balance.aligned(scale), j), aligned.mean(axis=1)) < 1e-3


def test_aligned_weighs_by_the_preference():
  j = well_conditioned(3)
  left, values, right = np.linalg.svd(j, full_matrices=False)
  expected = np.einsum("t,ntp->np", PREFERENCE, values[:, -1, None, None] * (left @ right))
  assert relative(updates(mtl.balance.aligned(preference=PREFERENCE), j), expected) < 1e-3


def test_aligned_leaves_dependent_gradients_in_their_span():
  rows = well_conditioned(3)[:, :2]
  j = np.concatenate([rows, rows.sum(axis=1, keepdims=True)], axis=1)
  left, values, right = np.linalg.svd(j, full_matrices=False)
  expected = (values[:, 1, None, None] * (left[:, :, :2] @ right[:, :2])).mean(axis=1)
  assert relative(updates(mtl.balance.aligned(), j), expected) < 2e-3


@pytest.mark.parametrize("tasks", [2, 9])
def test_imtl_g_projects_equally_on_all_directions(tasks):
  j = well_conditioned(tasks)
  weights = weigh(mtl.balance.imtl_g(), products(j))
  np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-4 * np.abs(weights).max())
  update = np.einsum("nt,ntp->np", weights, j)
  projections = np.einsum("ntp,np->nt", j / np.linalg.norm(j, axis=2, keepdims=True), update)
  size = np.linalg.norm(update, axis=1, keepdims=True)
  np.testing.assert_allclose(projections / size, np.broadcast_to(projections[:, :1] / size, j.shape[:2]), atol=2e-3)


def test_imtl_g_sees_short_gradients_beside_long_ones():
  j = well_conditioned(3)
  lengths = np.array([1e-4, 1.0, 1e4])
  plain, mixed = (weigh(mtl.balance.imtl_g(), products(x)) for x in (j, j * lengths[:, None]))
  expected = plain / lengths
  np.testing.assert_allclose(mixed, expected / expected.sum(axis=1, keepdims=True), rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("tasks", [2, 9])
def test_config_has_equal_cosines_and_the_length_of_all_projections(tasks):
  j = well_conditioned(tasks)
  update = updates(mtl.balance.config(), j)
  size = np.linalg.norm(update, axis=1)
  cosines = np.einsum("ntp,np->nt", j / np.linalg.norm(j, axis=2, keepdims=True), update) / size[:, None]
  np.testing.assert_allclose(cosines, np.broadcast_to(cosines[:, :1], cosines.shape), atol=2e-3)
  assert (cosines > 0).all()
  np.testing.assert_allclose(np.einsum("ntp,np->n", j, update) / size, size, rtol=1e-3)


def test_config_has_cosines_in_proportion_to_the_preference():
  j = well_conditioned(3)
  update = updates(mtl.balance.config(preference=PREFERENCE), j)
  shares = np.einsum("ntp,np->nt", j / np.linalg.norm(j, axis=2, keepdims=True), update) / PREFERENCE
  np.testing.assert_allclose(shares, np.broadcast_to(shares[:, :1], shares.shape), rtol=2e-3)


def test_unknown_scale():
  with pytest.raises(mtl.UserError, match=r"aligned: unknown scale 'mim' \(did you mean 'min'\?\): choose from min, "):
    inspect.unwrap(mtl.balance.aligned)("mim")  # without the tests' type checks


@pytest.mark.parametrize("name", ["aligned", "config"])
def test_preference_of_another_number_of_tasks(name):
  with pytest.raises(mtl.UserError, match=f"{name}: preference has 3 entries, expected 2, one per task"):
    getattr(mtl.balance, name)(preference=PREFERENCE).init(2)
