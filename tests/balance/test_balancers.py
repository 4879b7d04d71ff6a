"""Properties that balancers claim, over matrices of every rank and scale. Add a method in `_table.py`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._matrices import TASKS, hostile, initial, lopsided, losses, run, well_posed
from tests.balance._table import TABLE, methods


def over(claim: str | None, sizes):
  """Parametrises a test over the methods that claim something and the numbers of tasks that they take."""
  cases = [(name, tasks) for name in methods(claim) for tasks in sizes if tasks >= TABLE[name].least]
  return pytest.mark.parametrize(("name", "tasks"), cases)


def norms(j):
  return np.linalg.norm(j.astype(np.float64), axis=-1)


def test_every_balancer_is_in_the_table():
  assert set(TABLE) == {*mtl.balance.names(), *mtl.balance.combinators()}
  assert all(callable(getattr(mtl.balance, name)) for name in TABLE)


@over(None, TASKS)
@pytest.mark.slow
def test_finite_weights_and_update_on_hostile_matrices(name, tasks):
  for j in (hostile(tasks), lopsided(tasks)):
    update, weights, states = run(name, j)
    assert weights.shape == j.shape[:2] and weights.dtype == np.float32
    assert np.isfinite(weights).all()
    assert np.isfinite(update).all()
    arrays = [leaf for leaf in jax.tree.leaves(states) if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    assert all(np.isfinite(leaf).all() for leaf in arrays)


@pytest.mark.parametrize("name", methods())
def test_weights_repeat_and_states_keep_their_form(name):
  balancer = TABLE[name].make(3)
  state = initial(balancer, 3)
  first, weights, states = run(name, well_posed(3))
  again, _, _ = run(name, well_posed(3))
  np.testing.assert_array_equal(first, again)
  assert jax.tree.structure(states) == jax.tree.structure(state)
  for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(states), strict=True):
    assert after.shape[1:] == before.shape and after.dtype == before.dtype
  report = balancer.report(state)
  assert isinstance(report, dict) and all(isinstance(value, jax.Array) for value in report.values())
  assert balancer.head_weights(jnp.asarray(weights[0]), state).shape == (3,)


@over("simplex", TASKS)
def test_simplex(name, tasks):
  for j in (hostile(tasks), well_posed(tasks)):
    _, weights, _ = run(name, j)
    assert weights.min() >= 0.0
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)


@over("total", TASKS)
def test_total(name, tasks):
  total = tasks if TABLE[name].total == "tasks" else TABLE[name].total
  _, weights, _ = run(name, well_posed(tasks), warm_up=3)
  np.testing.assert_allclose(weights.sum(axis=1), total, rtol=1e-5)


@over("nonnegative", TASKS)
@pytest.mark.slow
def test_nonnegative(name, tasks):
  assert run(name, hostile(tasks))[1].min() >= 0.0


@over("equivariant", [2, 3])
def test_permutation_equivariant(name, tasks):
  j = well_posed(tasks)
  update, weights, _ = run(name, j)
  # A solver that stops a relative gap of about 1e-6 from the optimum leaves its square root in the update.
  scale = (np.abs(weights) * norms(j)).sum(axis=1, keepdims=True)
  for order in map(list, itertools.permutations(range(tasks))):
    permuted_update, permuted, _ = run(name, j[:, order], losses(tasks)[:, order])
    np.testing.assert_allclose(permuted, weights[:, order], rtol=1e-3, atol=1e-3)
    assert (np.abs(permuted_update - update) <= 2e-3 * scale).all()


@over("non_conflicting", TASKS)
@pytest.mark.slow
def test_non_conflicting(name, tasks):
  for j in (hostile(tasks), well_posed(tasks)):
    update, weights, _ = run(name, j)
    gain = np.einsum("ntp,np->nt", j.astype(np.float64), update.astype(np.float64))
    # Rounding of solvers in float32: 1e-5 of the largest gain there could be.
    assert (gain >= -1e-5 * norms(j).max(axis=1, keepdims=True) ** 2).all()


@pytest.mark.parametrize("name", methods("linear"))
def test_linear_under_scaling_of_rows(name):
  j, rng = well_posed(3), np.random.default_rng(0)
  one, two = (rng.uniform(0.1, 3.0, (len(j), 3, 1)).astype(np.float32) for _ in range(2))
  parts = [run(name, scale * j)[0] for scale in (one, two, one + two)]
  np.testing.assert_allclose(parts[0] + parts[1], parts[2], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", methods("stationary"))
def test_no_update_only_at_pareto_stationary_points(name):
  # Two tasks: the update must vanish where gradients oppose each other, and nowhere near it.
  angles = np.linspace(0.5, np.pi, len(hostile(2)))
  j = np.stack([np.stack([[1.0, 0.0], [np.cos(a), np.sin(a)]]) for a in angles])
  j = np.pad(j, ((0, 0), (0, 0), (0, 9))).astype(np.float32)
  length = np.linalg.norm(run(name, j)[0], axis=1)
  assert length[-1] < 0.02  # methods with a regularised matrix leave its share
  assert (length[:-1] > 0.3 * np.sin(angles[:-1])).all()


@pytest.mark.parametrize("name", methods())
def test_loss_weighters_weigh_heads_gradient_balancers_do_not(name):
  balancer = TABLE[name].make(3)
  weights = jnp.array([0.5, 1.0, 3.0])
  found = balancer.head_weights(weights, initial(balancer, 3))
  weighs = (
    balancer.needs <= {"losses", "losses_after"} if TABLE[name].weighs_heads is None else TABLE[name].weighs_heads
  )
  np.testing.assert_array_equal(found, weights if weighs else jnp.ones(3))
