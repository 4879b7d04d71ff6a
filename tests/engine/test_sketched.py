"""Sketches of task gradients: unbiased, of the promised error, and used as any other inner products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.engine.sketched import sketch
from tests.engine._problem import one_step, problem, relative_distance


def rows(seed=0):
  """Three gradients of 5000 entries in leaves of odd sizes, two of them alike."""
  key = jax.random.key(seed)
  base = jax.random.normal(key, (3, 5000))
  base = base.at[1].set(0.8 * base[0] + 0.6 * base[1])
  return base, {"a": base[:, :37], "b": base[:, 37:4133].reshape(3, 64, 64), "c": base[:, 4133:]}


def sketches(leaves, k, draws):
  each = jax.vmap(lambda row, key: sketch(row, key, k), in_axes=(0, None))
  return jax.jit(jax.vmap(each, in_axes=(None, 0)))(leaves, jax.random.split(jax.random.key(7), draws))


@pytest.mark.parametrize("k", [64, 1024])
def test_inner_products_are_unbiased_and_errors_shrink_as_promised(k):
  flat, leaves = rows()
  exact = np.asarray(jnp.matmul(flat, flat.T, precision="highest"))
  found = np.asarray(jnp.einsum("dsk,dtk->dst", *[sketches(leaves, k, 400)] * 2, precision="highest"))
  norms = np.sqrt(np.diag(exact))
  errors = (found - exact) / norms[:, None] / norms[None, :]
  spread = np.sqrt((errors**2).mean(axis=0))
  assert np.abs(errors.mean(axis=0)).max() < 5 * np.sqrt(2 / k / 400)  # five standard errors of the mean
  # Of independent signs a squared norm is off by sqrt(2 / k), an inner product of orthogonal rows by sqrt(1 / k).
  assert spread.max() < 1.3 * np.sqrt(2 / k) and spread.min() > 0.7 * np.sqrt(1 / k)


@pytest.mark.slow
def test_signs_are_new_each_step_and_the_same_on_every_device():
  _, leaves = rows()
  one = {name: leaf[0] for name, leaf in leaves.items()}
  first, again, other = (sketch(one, jax.random.key(seed), 64) for seed in (1, 1, 2))
  assert (first == again).all() and not (first == other).any()
  assert first.shape == (64,) and first.dtype == jnp.float32


def test_a_sketch_longer_than_the_parameters_is_exact():
  """Every entry has a sum of its own, but for leaves that meet: one leaf here."""
  leaves = {"a": jnp.arange(6.0).reshape(2, 3)}
  found = sketch(leaves, jax.random.key(0), 8)
  np.testing.assert_allclose(sorted(np.abs(found)), [0, 0, 0, 1, 2, 3, 4, 5])


def test_the_update_is_a_weighted_sum_of_gradients():
  """Weights from an estimate of G, and exactly their pull-back: the same as constant weights of those values."""
  net, tasks, batch, inputs = problem(3)
  _, after, metrics = one_step(net, tasks, batch, inputs, mtl.balance.mgda(), mtl.engine.sketched(16))
  weights = [float(metrics["weights"][task]) for task in tasks]
  assert abs(sum(weights) - 1) < 1e-5
  # With mgda heads get their own gradient whatever the weights; with constant ones they are weighted.
  constant = one_step(net, tasks, batch, inputs, mtl.balance.constant(weights), mtl.engine.losses())[1]
  assert relative_distance(after["shared"], constant["shared"]) < 1e-6


def test_steps_are_counted_and_bad_lengths_refused():
  engine = mtl.engine.sketched(16)
  assert engine.per_device and mtl.engine.every(2, engine).per_device and not mtl.engine.gram().per_device
  assert engine.init(3) == 0 and engine.name == "sketched(16)"
  with pytest.raises(mtl.UserError, match="sketched: k is 0, expected at least 1"):
    mtl.engine.sketched(0)
