"""The `features` engine: its Gram matrix by definition, what it costs, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from tests.engine._problem import ConvTrunk, one_step, problem


@pytest.mark.parametrize("trunk", [None, ConvTrunk()], ids=["mlp", "conv"])
def test_the_matrix_is_that_of_the_gradients_at_the_features(trunk):
  net, tasks, batch, inputs = problem(3, trunk=trunk)
  balancer = mtl.balance.equal()._replace(
    needs=frozenset({"losses", "gram"}),
    init=lambda num_tasks, shared=None: jnp.zeros((num_tasks, num_tasks)),
    weigh=lambda stats, state: (jnp.ones_like(stats.losses), stats.gram),
  )
  state = mtl.init_train_state(net, tasks, balancer, optax.sgd(0.1), batch, jax.random.key(1))
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, optax.sgd(0.1), mtl.engine.features()))
  new, _ = step(state, batch)

  params, net_state, cut = state.params, state.state, net.cut
  z, _ = cut.trunk(params["shared"], net_state["shared"], batch["x"], train=True)

  def losses(z):
    heads = [cut.heads[t](params["task"][t], net_state["task"][t], z, train=True)[0] for t in tasks]
    return jnp.stack([jnp.mean(tasks[t].loss(y, batch)) for t, y in zip(tasks, heads, strict=True)])

  rows = np.asarray(jax.jacrev(losses)(z)).reshape(3, -1)
  np.testing.assert_allclose(new.balancer, rows @ rows.T, rtol=1e-4, atol=1e-7)


def test_the_update_is_the_gradient_of_the_weighted_losses():
  net, tasks, batch, inputs = problem(3)
  found = one_step(net, tasks, batch, inputs, mtl.balance.mgda(), mtl.engine.features())
  weights = [float(found[2]["weights"][task]) for task in tasks]
  assert abs(sum(weights) - 1) < 1e-5 and max(weights) - min(weights) > 1e-3
  constant = one_step(net, tasks, batch, inputs, mtl.balance.constant(weights), None)
  for a, b in zip(jax.tree.leaves(found[1]["shared"]), jax.tree.leaves(constant[1]["shared"]), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_the_work_does_not_grow_with_a_trunk_pass_a_task():
  def flops(num_tasks, balancer, engine):
    net, tasks, batch, _ = problem(num_tasks, trunk=trunk, batch=64, features=64)
    tx = optax.sgd(0.1)
    state = jax.eval_shape(lambda: mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0)))
    step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine))
    return step.lower(state, batch).compile().cost_analysis()["flops"]

  from tests.engine._problem import Trunk

  trunk = Trunk((256, 256, 256))
  equal = flops(8, mtl.balance.equal(), mtl.engine.losses())
  assert flops(8, mtl.balance.mgda(), mtl.engine.features()) < 1.2 * equal
  assert flops(8, mtl.balance.mgda(), mtl.engine.gram()) > 4 * equal


@pytest.mark.parametrize(
  ("kind", "balancer", "message"),
  [
    (dict(cut=False), mtl.balance.mgda(), "has no cut between trunk and heads"),
    (dict(own_inputs=True), mtl.balance.mgda(), "tasks with inputs of their own share no features"),
    ({}, mtl.balance.gradnorm(layer="Dense_1"), "looks at the gradients of some layers"),
    ({}, mtl.balance.modo(), "cannot serve this balancer: it needs cross_gram"),
  ],
)
def test_what_it_refuses(kind, balancer, message):
  net, tasks, batch, inputs = problem(2, **kind)
  with pytest.raises(mtl.UserError, match=message):
    one_step(net, tasks, batch, inputs, balancer, mtl.engine.features())
