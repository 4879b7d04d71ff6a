"""Constant, scheduled and equal weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats

STATS = Stats(jnp.array([3.0, 4.0]))


@pytest.mark.parametrize("weights", [[1.0, 0.5], (1.0, 0.5), np.array([1, 0.5]), jnp.array([1, 0.5])])
def test_given_weights(weights):
  balancer = mtl.balance.constant(weights)
  found, _ = balancer.weigh(STATS, balancer.init(2))
  assert found.dtype == jnp.float32
  np.testing.assert_array_equal(found, [1.0, 0.5])


def test_tasks_that_are_present_keep_their_weights():
  balancer = mtl.balance.constant([1.0, 2.0, 3.0])
  stats = Stats(jnp.array([3.0, 0.0, 4.0]), present=jnp.array([True, False, True]))
  np.testing.assert_array_equal(balancer.weigh(stats, balancer.init(3))[0], [1.0, 0.0, 3.0])


def test_schedule():
  balancer = mtl.balance.constant(lambda step: jnp.array([1.0, 0.0]) + 0.25 * step.astype(jnp.float32))

  def step(state, _):
    weights, state = balancer.weigh(STATS, state)
    return state, weights

  _, weights = jax.lax.scan(step, balancer.init(2), length=4)
  np.testing.assert_allclose(weights, [[1 + 0.25 * i, 0.25 * i] for i in range(4)])


@pytest.mark.parametrize("weights", [[1.0], np.ones((1, 2)), lambda step: jnp.ones(3)])
def test_wrong_number_of_weights(weights):
  with pytest.raises(mtl.UserError, match=r"constant: the weights have shape .*, expected \(2,\), one per task"):
    mtl.balance.constant(weights).init(2)


def test_equal_weights_are_ones():
  np.testing.assert_array_equal(mtl.balance.equal().weigh(STATS, ())[0], [1.0, 1.0])


BY_NAME = mtl.balance.constant({"b": 2.0, "a": 1.0})
AROUND = {
  "itself": lambda balancer: balancer,
  "chain, first": lambda balancer: mtl.balance.chain(balancer, "equal"),
  "chain, second": lambda balancer: mtl.balance.chain("equal", balancer),
  "smooth": mtl.balance.smooth,
  "log_losses": mtl.balance.log_losses,
  "rescale": lambda balancer: mtl.balance.rescale(balancer, "mean"),
  "all at once": lambda balancer: mtl.balance.smooth(mtl.balance.rescale(mtl.balance.chain(balancer, "equal"), "sum")),
}


@pytest.mark.parametrize("around", AROUND)
def test_weights_by_name_are_put_in_the_order_of_the_tasks(around):
  stats = Stats(jnp.array([3.0, 4.0]))
  named, listed = AROUND[around](BY_NAME).for_tasks(["a", "b"]), AROUND[around](mtl.balance.constant([1.0, 2.0]))
  found, wanted = (balancer.weigh(stats, balancer.init(2))[0].tolist() for balancer in (named, listed))
  assert found == wanted


def test_weights_by_name_in_groups():
  rows = {"early": jnp.ones((2, 1)), "late": jnp.ones((2, 1))}
  balancer = mtl.balance.per_group(BY_NAME, ["early"]).for_tasks(("a", "b"))
  state = balancer.init(2, {"early": jnp.zeros(1), "late": jnp.zeros(1)})
  assert balancer.weigh(Stats(jnp.ones(2), rows=rows), state)[0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
  "names, line",
  [
    (("a", "bb"), r"constant: there is no task 'b' \(did you mean 'bb'\?\): the balanced tasks are 'a', 'bb'"),
    (("a", "b", "c"), "constant: task 'c' has no weight, expected one for each"),
  ],
)
def test_weights_of_other_tasks(names, line):
  with pytest.raises(mtl.UserError, match=line):
    BY_NAME.for_tasks(names)


def test_weights_by_name_without_names():
  with pytest.raises(mtl.UserError, match=r"the 2 tasks have no names here: pass a list, constant\(\[2.0, 1.0\]\)"):
    mtl.aggregate(BY_NAME, 2).init(jnp.ones(3))
