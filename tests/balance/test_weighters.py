"""The loss weighters of one formula each: against the gradient of the scalar they minimise, and what they reject."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats
from tests.train._run import NET, TASKS, TX, arrays

LOSSES = np.random.default_rng(0).uniform(0.1, 3.0, (20, 3)).astype(np.float32)
PREFERENCE = jnp.array([0.2, 0.3, 0.5])


def weights_of(balancer, losses=LOSSES) -> np.ndarray:
  """The weights at each of the losses, from the first state."""
  state = balancer.init(losses.shape[1])
  return np.asarray(jax.vmap(lambda row: balancer.weigh(Stats(row), state)[0])(jnp.asarray(losses)))


def steps_of(balancer, losses):
  """The weights over steps, and the last state."""

  def step(state, row):
    weights, state = balancer.weigh(Stats(row), state)
    return state, weights

  state, weights = jax.lax.scan(step, balancer.init(losses.shape[1]), jnp.asarray(losses))
  return np.asarray(weights), state


@pytest.mark.parametrize(
  ("balancer", "scalar"),
  [
    (mtl.balance.geometric(), lambda x: jnp.prod(x) ** (1 / 3)),
    (mtl.balance.scale_invariant(), lambda x: jnp.sum(jnp.log(x))),
    (mtl.balance.imtl_l(), jnp.sum),  # s = 0 at first
    (
      mtl.balance.cosmos(PREFERENCE, lam=1.5),
      lambda x: (
        jnp.sum(PREFERENCE * x) - 1.5 * jnp.sum(PREFERENCE * x) / (jnp.linalg.norm(PREFERENCE) * jnp.linalg.norm(x))
      ),
    ),
    (
      mtl.balance.pbi(PREFERENCE, theta=2.0),
      lambda x: (
        jnp.sum(PREFERENCE * x) / jnp.linalg.norm(PREFERENCE)
        + 2.0 * jnp.linalg.norm(x - jnp.sum(PREFERENCE * x) / jnp.sum(PREFERENCE**2) * PREFERENCE)
      ),
    ),
  ],
  ids=["geometric", "scale_invariant", "imtl_l", "cosmos", "pbi"],
)
def test_weights_are_the_gradient_of_the_scalar(balancer, scalar):
  expected = jax.vmap(jax.grad(scalar))(jnp.asarray(LOSSES))
  np.testing.assert_allclose(weights_of(balancer), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["geometric", "scale_invariant", "stch", "famo"])
@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_losses_out_of_the_domain_are_not_weighed_silently(name, bad):
  balancer = getattr(mtl.balance, name)()
  assert np.max(balancer.losses_above) == 0.0  # the train step looks at this
  weights, _ = balancer.weigh(Stats(jnp.array([1.0, bad])), balancer.init(2))
  assert not np.isfinite(weights).all()
  tx = mtl.aggregate(balancer if name != "famo" else mtl.balance.famo(lazy=True), num_tasks=2)
  params = {"w": jnp.zeros(2)}
  with pytest.raises(mtl.UserError, match=f"the loss of task 1 is {bad}, this balancer expects it above 0"):
    tx.update(mtl.TaskGradients({"w": jnp.ones((2, 2))}), tx.init(params), params, losses=jnp.array([1.0, bad]))


def test_training_stops_and_names_the_task_whose_loss_is_out_of_the_domain():
  tasks = {**TASKS, "size": dataclasses.replace(TASKS["size"], loss=lambda prediction, batch: 0.0 * prediction[:, 0])}
  with pytest.raises(mtl.UserError, match=r"the loss of task 'size' \(1 steps\) was .* not above 0, as this balancer"):
    mtl.fit(NET, tasks, mtl.balance.scale_invariant(), TX, arrays(50, 0), steps=2, batch_size=10, nonfinite="stop",
            progress=False)  # fmt: skip


def test_imtl_l_brings_scaled_losses_to_one():
  losses = np.tile(np.array([0.1, 1.0, 20.0], np.float32), (1500, 1))
  weights, _ = steps_of(mtl.balance.imtl_l(learning_rate=0.05), losses)
  np.testing.assert_allclose(weights[-1] * losses[-1], 1.0, rtol=0.03)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "dirichlet", "bernoulli", "one"])
def test_random_weights_have_their_distribution(distribution):
  weights, _ = steps_of(mtl.balance.random(distribution), np.tile(LOSSES[:1], (3000, 1)))
  np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)
  np.testing.assert_allclose(weights.mean(axis=0), 1 / 3, atol=0.035)  # 4 standard errors of the widest, "one"
  draw = np.random.default_rng(0)
  z, u = (np.exp(x) for x in (draw.normal(size=(100000, 3)), draw.uniform(size=(100000, 3))))
  expected = {
    "normal": (z / z.sum(axis=1, keepdims=True)).std(),
    "uniform": (u / u.sum(axis=1, keepdims=True)).std(),
    "dirichlet": np.sqrt(1 / 18),
    "bernoulli": np.sqrt(3 / 8 * (2 / 9) + 3 / 8 * (1 / 18)),  # one of three, two of three, all or none
    "one": np.sqrt(2 / 9),
  }[distribution]
  np.testing.assert_allclose(weights.std(), expected, rtol=0.05)


def test_stch_by_hand():
  losses = LOSSES[:6]
  weights, _ = steps_of(mtl.balance.stch(mu=0.5, warmup=3, window=2), losses)
  np.testing.assert_allclose(weights[:3], 1 / losses[:3], rtol=1e-5)
  nadir = losses[1:3].mean(axis=0)
  powers = (losses[3:] / nadir) ** 2  # exp(log(x / n) / mu)
  expected = 3 * powers / powers.sum(axis=1, keepdims=True) / losses[3:]
  np.testing.assert_allclose(weights[3:], expected, rtol=1e-4)


def test_famo_by_hand():
  balancer = mtl.balance.famo(learning_rate=0.1, weight_decay=0.01, min_losses=0.05)
  tx, s = optax.chain(optax.add_decayed_weights(0.01), optax.adam(0.1)), jnp.zeros(3)
  opt, state = tx.init(s), balancer.init(3)
  for before, after in zip(LOSSES[:4], LOSSES[4:8], strict=True):
    weights, state = balancer.weigh(Stats(jnp.asarray(before)), state)
    share = np.exp(s) / np.exp(s).sum() / (before - 0.05)
    np.testing.assert_allclose(weights, share / share.sum(), rtol=1e-4)
    state = balancer.observe(Stats(jnp.asarray(before)), Stats(jnp.asarray(after)), state)
    delta = np.log(before - 0.05) - np.log(after - 0.05)
    z = np.exp(s) / np.exp(s).sum()
    with jax.numpy_dtype_promotion("standard"):
      updates, opt = tx.update(jnp.asarray(z * (delta - (z * delta).sum())), opt, s)
    s = s + updates
    np.testing.assert_allclose(state.logits.value, s, rtol=1e-4, atol=1e-6)


def test_lazy_famo_learns_from_the_next_losses():
  full, lazy = mtl.balance.famo(), mtl.balance.famo(lazy=True)
  assert lazy.needs == {"losses"} and full.needs == {"losses", "losses_after"}
  state, eager = lazy.init(3), full.init(3)
  for now, following in zip(LOSSES[:4], LOSSES[1:5], strict=True):
    weights, state = lazy.weigh(Stats(jnp.asarray(now)), state)
    expected, eager = full.weigh(Stats(jnp.asarray(now)), eager)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    eager = full.observe(Stats(jnp.asarray(now)), Stats(jnp.asarray(following)), eager)


def test_the_step_shows_famo_the_losses_after_the_update():
  """On the same batch, with the same dropout, and without a second update of batch statistics."""
  batch, objective = jax.tree.map(jnp.asarray, arrays(20, 0)), mtl.objective(NET, TASKS)
  seen = mtl.balance.equal()._replace(
    needs=frozenset({"losses", "losses_after"}),
    init=lambda num_tasks, shared=None: jnp.zeros((2, num_tasks)),
    weigh=lambda stats, state: (jnp.ones_like(stats.losses), state),
    observe=lambda before, after, state: jnp.stack([before.losses, after.losses]),
  )
  tx = optax.sgd(0.1)
  state = mtl.init_train_state(NET, TASKS, seen, tx, batch, jax.random.key(0))
  with pytest.raises(mtl.UserError, match="add 'losses_after' to what it needs"):
    mtl.make_train_step(objective, seen._replace(needs=frozenset({"losses"})), tx)
  new, metrics = jax.jit(mtl.make_train_step(objective, seen, tx))(state, batch)
  key = jax.random.fold_in(state.key, 0)
  expected, _ = objective(new.params, state.state, batch, key)
  _, once = objective(state.params, state.state, batch, key)
  np.testing.assert_allclose(new.balancer[0], [metrics["losses"][task] for task in TASKS], rtol=1e-6)
  np.testing.assert_allclose(new.balancer[1], [expected[task] for task in TASKS], rtol=1e-5)
  for found, wanted in zip(jax.tree.leaves(new.state), jax.tree.leaves(once["state"]), strict=True):
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: inspect.unwrap(mtl.balance.random)("gauss"), "random: unknown distribution 'gauss'"),
    (lambda: mtl.balance.imtl_l(0.0), "imtl_l: learning_rate is 0.0, expected above 0"),
    (lambda: mtl.balance.stch(mu=0.0), "stch: mu is 0.0"),
    (lambda: mtl.balance.stch(warmup=5, window=6), "window from 1 to warmup"),
    (lambda: mtl.balance.famo(learning_rate=-1.0), "famo: learning_rate is -1.0"),
    (lambda: mtl.balance.famo(weight_decay=-1.0), "famo: weight_decay is -1.0"),
    (lambda: mtl.balance.famo(min_losses=[0.0, 0.0]).init(3), r"min_losses has shape \(2,\), expected \(3,\)"),
    (lambda: mtl.balance.cosmos(lam=-1.0), "cosmos: lam is -1.0"),
    (lambda: mtl.balance.pbi(theta=-1.0), "pbi: theta is -1.0"),
    (lambda: mtl.balance.pbi([1.0, -1.0]), "pbi: preference is .* no negative"),
    (lambda: mtl.balance.cosmos([1.0, 1.0]).init(3), "cosmos: preference has 2 entries, expected 3"),
  ],
)
def test_mistakes(make, message):
  with pytest.raises(mtl.UserError, match=message):
    make()
