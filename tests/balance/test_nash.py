"""Nash-MTL: the fixed point, closed forms, and the limit on the update's length."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from tests.balance._matrices import hostile, run, well_posed


@functools.cache
def step(max_norm: float):
  balancer = mtl.balance.nash(max_norm=max_norm)
  return jax.jit(jax.vmap(lambda g: balancer.weigh(Stats(jnp.ones(len(g)), g), balancer.init(len(g)))))


def weigh(grams, max_norm: float = 0.0):
  weights, residual = step(max_norm)(jnp.asarray(grams, jnp.float32))
  return np.asarray(weights, np.float64), np.asarray(residual)


def unit(grams):
  return grams / np.linalg.norm(grams, axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("tasks", [1, 3, 9])
def test_solves_g_a_equals_one_over_a(tasks):
  j = well_posed(tasks).astype(np.float64)
  grams = unit(j @ j.transpose(0, 2, 1)).astype(np.float32).astype(np.float64)
  a, reported = weigh(grams)
  assert (a > 0).all()
  residual = np.abs(a * np.einsum("nts,ns->nt", grams, a) - 1.0).max(axis=1)
  # What float32 can hold: a few roundings of the terms that must cancel to 1.
  rounding = np.finfo(np.float32).eps * (a * np.einsum("nts,ns->nt", np.abs(grams), a)).max(axis=1)
  assert (residual < np.maximum(1e-4, 4 * rounding)).all()
  assert (residual < 1e-4).mean() > 0.9
  np.testing.assert_allclose(reported, residual, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_diagonal_matrices_in_closed_form(scale):
  diagonal = np.array([[3.0, 4.0, 12.0], [1.0, 1.0, 1.0], [1e-4, 1.0, 1e4]])
  grams = scale * np.stack([np.diag(d) for d in diagonal])
  # G / |G|_F = diag(d / |d|), so a = sqrt(|d| / d), whatever the common scale
  expected = np.sqrt(np.linalg.norm(diagonal, axis=1, keepdims=True) / diagonal)
  np.testing.assert_allclose(weigh(grams)[0], expected, rtol=1e-4)


def test_two_tasks_gain_in_proportion_to_their_norms():
  j = well_posed(2).astype(np.float64)
  grams = unit(j @ j.transpose(0, 2, 1))
  # By symmetry of the cosine matrix a_i = 1 / (n_i sqrt(1 + cos)).
  norms = np.sqrt(np.diagonal(grams, axis1=1, axis2=2))
  cosine = grams[:, 0, 1] / norms.prod(axis=1)
  np.testing.assert_allclose(weigh(grams)[0], 1 / (norms * np.sqrt(1 + cosine)[:, None]), rtol=1e-4)


def test_the_update_is_no_longer_than_max_norm(max_norm=30.0):
  j = well_posed(3).astype(np.float64)
  grams = j @ j.transpose(0, 2, 1)
  free, limited = weigh(grams)[0], weigh(grams, max_norm)[0]
  length = np.linalg.norm(np.einsum("nt,ntp->np", free, j), axis=1)
  np.testing.assert_allclose(limited, free * np.minimum(1.0, max_norm / length)[:, None], rtol=1e-4)
  assert (length > max_norm).any() and (length < max_norm).any()


@pytest.mark.parametrize("tasks", [3, 40])
def test_the_limit_holds_on_hostile_matrices(tasks):
  j = hostile(tasks)
  update, _, _ = run("nash", j)
  assert np.linalg.norm(update.astype(np.float64), axis=1).max() < 1.01


def test_the_residual_shows_where_no_solution_exists():
  j = np.array([[1.0, 0.0], [-1.0, 0.0]])
  _, residual = weigh((j @ j.T)[None])
  assert residual[0] > 0.5


def test_inner_products_that_are_not_numbers_show():
  assert np.isnan(weigh(np.full((1, 2, 2), np.nan))[0]).all()


def test_negative_max_norm():
  with pytest.raises(mtl.UserError, match="nash: max_norm is -1.0, expected at least 0"):
    mtl.balance.nash(max_norm=-1.0)
