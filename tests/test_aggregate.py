"""Balancers as optax transformations: by hand, inside chains, against the train step, and what users are told."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from tests import _nets

J = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]], np.float32)
PARAMS = {"shared": {"w": jnp.zeros(2), "v": jnp.zeros((1, 1))}, "task": {"a": jnp.zeros(2), "b": jnp.zeros(1)}}
STACKED = {
  "shared": {"w": jnp.asarray(J[:, :2]), "v": jnp.asarray(J[:, 2:, None])},
  "task": {"a": jnp.array([[1.0, 2.0], [0.0, 0.0]]), "b": jnp.array([[0.0], [3.0]])},
}
LOSSES = jnp.array([1.0, 2.0])


def updated(tx, stacked, state, params=None, *, jit=False, **extra):
  """`tx.update` of task gradients."""

  def update(stacked, state, params, extra):
    return tx.update(mtl.TaskGradients(stacked), state, params, **extra)

  return (jax.jit(update) if jit else update)(stacked, state, params, extra)


def close(a, b, **tolerance):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **({"rtol": 1e-5, "atol": 1e-5} | tolerance)), a, b)


@pytest.mark.parametrize("jit", [False, True])
def test_pcgrad_in_a_chain_by_hand(jit):
  tx = optax.chain(mtl.aggregate(mtl.balance.pcgrad(), num_tasks=2), optax.sgd(0.1))
  state = tx.init(PARAMS)
  updates, (aggregate_state, _) = updated(tx, STACKED, state, PARAMS, jit=jit, losses=LOSSES)
  weights = np.array([1 + 22 / 18, 1 + 22 / 38])
  close(aggregate_state.weights, weights)
  close(updates["shared"], {"w": -0.1 * weights @ J[:, :2], "v": -0.1 * (weights @ J[:, 2:])[:, None]})
  # the heads' own gradients, unweighted
  close(updates["task"], {"a": [-0.1, -0.2], "b": [-0.3]})


def test_loss_weighters_weigh_heads_too():
  tx = mtl.aggregate(mtl.balance.constant([2.0, 5.0]), num_tasks=2)
  updates, _ = updated(tx, STACKED, tx.init(PARAMS), PARAMS, losses=LOSSES)
  close(updates["shared"]["w"], np.array([2.0, 5.0]) @ J[:, :2])
  close(updates["task"], {"a": [2.0, 4.0], "b": [15.0]})


@pytest.mark.slow
def test_the_shared_option_says_what_the_balancer_sees():
  params, stacked = (
    {"w": jnp.zeros(2), "head": jnp.zeros(1)},
    {"w": jnp.asarray(J[:, :2]), "head": jnp.array([[1e3], [0.0]])},
  )
  everything = mtl.aggregate(mtl.balance.mgda(), num_tasks=2)
  trunk_only = mtl.aggregate(mtl.balance.mgda(), num_tasks=2, shared=lambda p: {"w": True, "head": False})
  _, state = updated(trunk_only, stacked, trunk_only.init(params), params, losses=LOSSES)
  close(state.weights, [0.6, 0.4], atol=1e-3)
  _, state = updated(everything, stacked, everything.init(params), params, losses=LOSSES)
  assert state.weights[0] < 1e-3  # the first row is now a thousand times longer
  plain = mtl.aggregate(mtl.balance.equal(), num_tasks=2)
  close(
    updated(plain, stacked, plain.init(params), params, losses=LOSSES)[0], {"w": J[:, :2].sum(axis=0), "head": [1e3]}
  )


def test_without_params_everything_laid_out_as_shared_and_task_is_told_apart():
  tx = mtl.aggregate(mtl.balance.pcgrad(), num_tasks=2)
  with_params, _ = updated(tx, STACKED, tx.init(PARAMS), PARAMS, losses=LOSSES)
  without, _ = updated(tx, STACKED, tx.init(PARAMS), losses=LOSSES)
  close(with_params, without)


@pytest.mark.parametrize("name", ["equal", "dwa", "uncertainty", "pcgrad", "mgda", "nash"])
def test_the_state_keeps_its_form(name):
  tx = optax.chain(mtl.aggregate(getattr(mtl.balance, name)(), num_tasks=2), optax.scale(-1.0))
  state = tx.init(PARAMS)
  update = jax.jit(lambda state: tx.update(mtl.TaskGradients(STACKED), state, PARAMS, losses=LOSSES))
  after = state
  for _ in range(2):
    _, after = update(after)
  assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
    lambda leaf: (leaf.shape, leaf.dtype), state
  )
  assert update._cache_size() == 1


@functools.cache
def start():
  tasks, batch = _nets.tasks(), _nets.batch()
  heads = {name: mtl.from_linen(nn.Dense(size)) for name, size in _nets.OUTPUTS.items()}
  net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), heads)
  params, state = net.init(jax.random.key(0), batch["x"])
  return mtl.objective(net, tasks), net, tasks, batch, params, state


@functools.cache
def stacked_gradients():
  objective, _, _, batch, params, state = start()

  def losses(params):
    by_name, _ = objective(params, state, batch, None)
    return jnp.stack([by_name["a"], by_name["b"]])

  return jax.jit(lambda p: (losses(p), jax.jacrev(losses)(p)))(params)


@pytest.mark.parametrize("name", ["uncertainty", "pcgrad"])  # one that looks at losses, one at G
def test_the_update_is_that_of_the_train_step(name):
  objective, net, tasks, batch, params, state = start()
  balancer = getattr(mtl.balance, name)()
  sgd = optax.sgd(0.1)
  train_state = mtl.init_train_state(net, tasks, balancer, sgd, batch, jax.random.key(0))
  train_state = train_state._replace(params=params, state=state)
  after, metrics = jax.jit(mtl.make_train_step(objective, balancer, sgd))(train_state, batch)
  losses, gradients = stacked_gradients()
  tx = optax.chain(mtl.aggregate(balancer, num_tasks=2), sgd)
  updates, (aggregated, _) = updated(tx, gradients, tx.init(params), params, jit=True, losses=losses)
  close(aggregated.weights, [metrics["weights"]["a"], metrics["weights"]["b"]], rtol=1e-3)
  close(optax.apply_updates(params, updates), after.params)
  moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), after.params, params)
  assert min(jax.tree.leaves(moved)) > 1e-6


def aggregated():
  return mtl.aggregate(mtl.balance.pcgrad(), num_tasks=2)


MISPLACED = {
  "behind adam": lambda: optax.chain(optax.adam(1e-3), aggregated()),
  "behind clip": lambda: optax.chain(optax.clip(1.0), aggregated()),
  "behind clip by norm": lambda: optax.chain(optax.clip_by_global_norm(1.0), aggregated(), optax.sgd(0.1)),
  "in an inner chain behind clip": lambda: optax.chain(optax.clip(1.0), optax.chain(aggregated(), optax.sgd(0.1))),
  "in the innermost chain": lambda: optax.chain(
    optax.chain(optax.clip(1.0), optax.chain(optax.chain(aggregated()), optax.sgd(0.1)))
  ),
  "behind an inner chain": lambda: optax.chain(optax.chain(optax.clip(1.0)), aggregated()),
  "in a named chain": lambda: optax.named_chain(("clip", optax.clip(1.0)), ("aggregate", aggregated())),
  "with extra arguments": lambda: optax.chain(optax.clip(1.0), optax.with_extra_args_support(aggregated())),
}


REFUSED = (mtl.UserError, TypeError, ValueError)  # ours where our object is asked, else JAX's


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", list(MISPLACED))
def test_another_transformation_before_it_is_an_error(name, jit):
  tx = MISPLACED[name]()
  # A state as if every leaf were stacked, so that nothing in the shapes gives the mistake away.
  with pytest.raises(REFUSED, match="TaskGradients"), jax.numpy_dtype_promotion("standard"):
    updated(tx, STACKED, tx.init(STACKED), PARAMS, jit=jit, losses=LOSSES)


@pytest.mark.parametrize("use", [
  lambda g: g + 1.0, lambda g: 0.5 * g, lambda g: -g, jnp.abs, jnp.sum, np.asarray, lambda g: g.shape,
  lambda g: jax.jit(lambda g: g)(g), lambda g: jax.tree.map(jnp.zeros_like, g),
])  # fmt: skip
def test_task_gradients_are_no_arrays(use):
  with pytest.raises(REFUSED, match="TaskGradients"):
    use(mtl.TaskGradients(STACKED))


def test_gradients_that_are_not_marked_are_refused():
  tx = aggregated()
  with pytest.raises(mtl.UserError, match=r"the gradients are a dict, expected.*tx.update\(mtl.TaskGradients\(grad"):
    tx.update(STACKED, tx.init(PARAMS), PARAMS, losses=LOSSES)


WRAPPED = {
  "apply_if_finite": lambda: optax.apply_if_finite(optax.chain(aggregated(), optax.sgd(0.1)), 3),
  "conditionally_mask": lambda: optax.conditionally_mask(aggregated(), lambda step: step < 3),
  "conditionally_transform": lambda: optax.conditionally_transform(aggregated(), lambda step: step < 3),
}


@pytest.mark.parametrize("name", list(WRAPPED))
def test_inside_of_what_may_leave_it_out_is_an_error(name):
  tx = WRAPPED[name]()
  with pytest.raises(REFUSED, match="TaskGradients"):
    updated(tx, STACKED, tx.init(PARAMS), PARAMS, jit=True, losses=LOSSES)


WELL_PLACED = {
  "before apply_if_finite": lambda: optax.chain(aggregated(), optax.apply_if_finite(optax.sgd(0.1), 3)),
  "alone": aggregated,
  "before adam": lambda: optax.chain(aggregated(), optax.adam(1e-3)),
  "in an inner chain": lambda: optax.chain(optax.chain(aggregated(), optax.clip(1.0)), optax.adam(1e-3)),
  "in a named chain": lambda: optax.named_chain(("aggregate", aggregated()), ("clip", optax.clip(1.0))),
}


@pytest.mark.parametrize("name", list(WELL_PLACED))
def test_first_of_its_chain_is_fine(name):
  tx = WELL_PLACED[name]()
  with jax.numpy_dtype_promotion("standard"):  # adam's integer step count
    updates, _ = jax.eval_shape(lambda state: updated(tx, STACKED, state, PARAMS, losses=LOSSES), tx.init(PARAMS))
  assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, PARAMS)


def without(stacked):
  return {"shared": stacked["shared"]}


MISTAKES = {
  "unstacked": (
    jax.tree.map(lambda leaf: leaf[0], STACKED),
    {},
    r"aggregate: the gradient of \['shared'\]\['v'\] has shape \(1, 1\), expected \(2, 1, 1\): gradients stacked",
  ),
  "wrong number of tasks": (
    jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[:1]]), STACKED),
    {},
    r"has shape \(3, 1, 1\), expected \(2, 1, 1\)",
  ),
  "other structure": (without(STACKED), {}, "the gradients and the parameters have different structures"),
  "losses of three": (STACKED, {"losses": jnp.ones(3)}, r"losses have shape \(3,\), expected \(2,\), one per task"),
  "loss by name": (STACKED, {"losses": {"a": 1.0, "b": 2.0}}, r"losses.*expected an array \(2,\)"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistakes_are_told_in_one_line(name):
  stacked, options, message = MISTAKES[name]
  tx = aggregated()
  with pytest.raises(mtl.UserError, match=message) as error:
    updated(tx, stacked, tx.init(PARAMS), PARAMS, **({"losses": LOSSES} | options))
  assert "\n" not in str(error.value)


def test_unstacked_gradients_without_params():
  tx = aggregated()
  with pytest.raises(mtl.UserError, match=r"has shape \(1, 1\), expected \(2, \.\.\.\)"):
    updated(tx, jax.tree.map(lambda leaf: leaf[0], STACKED), tx.init(PARAMS), losses=LOSSES)


def test_loss_weighters_need_the_losses_others_do_not():
  tx = mtl.aggregate(mtl.balance.uncertainty(), num_tasks=2)
  with pytest.raises(
    mtl.UserError, match=r"this balancer reads the losses: pass them, tx.update\(..., losses=losses\)"
  ):
    updated(tx, STACKED, tx.init(PARAMS), PARAMS)
  tx = aggregated()
  assert np.isfinite(updated(tx, STACKED, tx.init(PARAMS), PARAMS)[1].weights).all()


def test_nothing_shared():
  tx = mtl.aggregate(mtl.balance.pcgrad(), num_tasks=2, shared=lambda params: False)
  with pytest.raises(mtl.UserError, match="no parameter is shared"):
    updated(tx, STACKED, tx.init(PARAMS), PARAMS, losses=LOSSES)
