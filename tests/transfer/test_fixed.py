"""A fixed net is a function that no training changes, under any architecture."""

import inspect

import jax
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import UserError, transfer
from tests.train._run import TASKS, arrays

LOWER = mtl.from_linen(mtl.nn.ResNet((1,), width=4))
UPPER = mtl.from_linen(mtl.nn.MLP((4,)))
X = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))


def test_it_computes_what_the_net_does_outside_of_training():
  net = transfer.fixed(LOWER)
  params, state = net.init(jax.random.key(1), X)
  assert params == {}
  expected, _ = LOWER.apply(*LOWER.init(jax.random.key(1), X), X)
  for train in (False, True):
    found, after = net.apply(params, state, X, train=train, key=jax.random.key(2))
    np.testing.assert_array_equal(found, expected)
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_its_stages_are_fixed():
  stages = transfer.fixed(LOWER).stages
  assert len(stages) == len(LOWER.stages)
  assert stages[0].init(jax.random.key(1), X)[0] == {}


@pytest.mark.parametrize("arch", [mtl.arch.hard_sharing, mtl.arch.cross_stitch], ids=["hard_sharing", "cross_stitch"])
def test_training_leaves_it_as_it_is(arch):
  trunk = mtl.arch.chain(transfer.fixed(mtl.from_linen(mtl.nn.MLP((5,)))), UPPER)
  heads = {"kind": mtl.from_linen(mtl.nn.MLP((), 2)), "size": mtl.from_linen(mtl.nn.MLP((), 1))}
  net = arch(trunk, heads)
  data = arrays(16, 0)
  step = jax.jit(mtl.make_train_step(mtl.objective(net, TASKS), mtl.balance.pcgrad(), optax.sgd(0.1)))
  state = mtl.init_train_state(net, TASKS, mtl.balance.pcgrad(), optax.sgd(0.1), data, jax.random.key(0))
  after, _ = step(state, data)
  changed = jax.tree.map(lambda old, new: bool((old != new).any()), state.params, after.params)
  assert all(jax.tree.leaves(changed)) and jax.tree.leaves(state.state)
  jax.tree.map(np.testing.assert_array_equal, after.state, state.state)


def test_only_nets():
  with pytest.raises(UserError, match="fixed: net"):
    inspect.unwrap(transfer.fixed)(mtl.nn.MLP((3,)))
