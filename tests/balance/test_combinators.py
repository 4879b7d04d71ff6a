"""Balancers made of balancers: by hand, in the train step, and what they refuse."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from tests.balance._matrices import initial, losses, run, well_posed
from tests.engine._problem import one_step, problem


def test_chain_balances_the_weighted_losses():
  j, scales = well_posed(3), np.array([0.5, 2.0, 3.0], np.float32)
  both = mtl.balance.chain(mtl.balance.constant(scales), mtl.balance.mgda(normalize="loss"))
  inner = mtl.balance.mgda(normalize="loss")
  weigh, weigh_scaled, state = jax.jit(both.weigh), jax.jit(inner.weigh), both.init(3)
  for rows, row_losses in zip(j[:5], losses(3), strict=False):
    weights, state = weigh(Stats(jnp.asarray(row_losses), jnp.asarray(rows @ rows.T)), state)
    scaled = scales[:, None] * rows
    expected, _ = weigh_scaled(Stats(jnp.asarray(scales * row_losses), jnp.asarray(scaled @ scaled.T)), inner.init(3))
    np.testing.assert_allclose(weights, scales * expected, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(both.head_weights(weights, state), scales)  # heads: the weighter's part alone


def test_chain_passes_losses_after_the_update_on():
  both = mtl.balance.chain(mtl.balance.famo(), mtl.balance.pcgrad())
  net, tasks, batch, inputs = problem(3)
  tx = optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, both, tx, batch, jax.random.key(0))
  new, _ = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), both, tx))(state, batch)
  assert float(jnp.abs(new.balancer.weighter.logits.value).max()) > 0.01


def test_log_losses_do_not_see_units():
  units = np.array([1e-3, 1.0, 50.0], np.float32)
  balancer = mtl.balance.log_losses(mtl.balance.nash())
  weigh, state = jax.jit(balancer.weigh), balancer.init(3)
  for rows, row_losses in zip(well_posed(3)[:5], losses(3), strict=False):
    plain, _ = weigh(Stats(jnp.asarray(row_losses), jnp.asarray(rows @ rows.T)), state)
    other = units[:, None] * rows
    found, _ = weigh(Stats(jnp.asarray(units * row_losses), jnp.asarray(other @ other.T)), state)
    np.testing.assert_allclose(found * units, plain, rtol=1e-3)


def test_smooth_averages_weights_from_the_first_on():
  given = np.random.default_rng(0).uniform(size=(6, 3)).astype(np.float32)
  balancer = mtl.balance.smooth(mtl.balance.constant(lambda step: jnp.asarray(given)[step]), beta=0.8)
  weigh, state, expected = jax.jit(balancer.weigh), balancer.init(3), given[0]
  for row in given:
    weights, state = weigh(Stats(jnp.ones(3)), state)
    expected = 0.8 * expected + 0.2 * row
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


@pytest.mark.parametrize(
  ("balancer", "factor"),
  [(mtl.balance.pcgrad(), 1 / 3), (mtl.balance.mgda(), 3.0), (mtl.balance.dwa(), 1 / 3), (mtl.balance.random(), 3.0)],
)
def test_rescale_between_sum_and_mean(balancer, factor):
  stats = Stats(jnp.asarray(losses(3)[0]), jnp.asarray(well_posed(3)[0] @ well_posed(3)[0].T))
  other = mtl.balance.rescale(balancer, "mean" if factor < 1 else "sum")
  same = mtl.balance.rescale(other, other.scale)
  plain, rescaled, again = jax.jit(lambda: [each.weigh(stats, each.init(3))[0] for each in (balancer, other, same)])()
  np.testing.assert_allclose(rescaled, plain * factor, rtol=1e-5)
  np.testing.assert_allclose(again, plain * factor, rtol=1e-5)


def mgda_of(grams):
  inner = mtl.balance.mgda()
  return jax.jit(jax.vmap(lambda gram: inner.weigh(Stats(jnp.ones(3), gram), inner.init(3))[0]))(grams)


def test_groups_are_balanced_each_by_itself():
  j = well_posed(3)
  update, _, states = run("per_group", j)
  parts = slice(0, 4), slice(4, 11)
  each = mgda_of(np.concatenate([j[:, :, part] @ j[:, :, part].transpose(0, 2, 1) for part in parts]))
  for part, weights in zip(parts, np.split(np.asarray(each), 2), strict=True):
    rows = j[:, :, part]
    np.testing.assert_allclose(update[:, part], np.einsum("nt,ntp->np", weights, rows), rtol=1e-3, atol=1e-3)
  assert states.weights.shape == (len(j), 2, 3)


def test_a_group_may_have_a_row_method_and_the_rest_is_a_group():
  net, tasks, batch, inputs = problem(3)
  groups = mtl.balance.per_group(mtl.balance.trimmed_mean(1), ["Dense_0/kernel"])
  whole = mtl.balance.trimmed_mean(1)  # coordinate by coordinate: groups change nothing
  updates = [one_step(net, tasks, batch, inputs, balancer, None)[1] for balancer in (groups, whole)]
  for found, expected in zip(jax.tree.leaves(updates[0]), jax.tree.leaves(updates[1]), strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: mtl.balance.chain(mtl.balance.mgda(), mtl.balance.pcgrad()), "the first balancer needs gram"),
    (lambda: mtl.balance.smooth(mtl.balance.equal(), beta=1.0), "smooth: beta is 1.0"),
    (lambda: mtl.balance.smooth(mtl.balance.trimmed_mean(1)), "nothing to smooth"),
    (lambda: inspect.unwrap(mtl.balance.rescale)(mtl.balance.equal(), "max"), "rescale: unknown scale 'max'"),
    (lambda: mtl.balance.per_group(mtl.balance.mgda(), []), "per_group needs at least one group"),
    (lambda: mtl.balance.per_group(mtl.balance.sdmgrad(), ["a"]), "needs more than the task gradients of one batch"),
    (lambda: initial(mtl.balance.per_group(mtl.balance.mgda(), ["middle"]), 3), "no shared parameter matches 'middle'"),
    (lambda: initial(mtl.balance.per_group(mtl.balance.mgda(), ["("]), 3), "is no regular expression"),
    (lambda: mtl.balance.per_group(mtl.balance.mgda(), ["a"]).init(3), "needs the shared parameters"),
    (lambda: mtl.aggregate(mtl.balance.sdmgrad(), 3), "aggregate cannot serve this balancer: it needs cross_gram"),
    (lambda: mtl.aggregate(mtl.balance.famo(), 3), "it needs losses_after"),
  ],
)
def test_mistakes(make, message):
  with pytest.raises(mtl.UserError, match=message):
    make()
