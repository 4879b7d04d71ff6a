"""Bilevel methods: hypergradients against differentiation through the step, and what is learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import minimize

import mtl_jax as mtl
from mtl_jax.bilevel import Levels
from mtl_jax.bilevel.forum import constrained_shares
from tests.engine._problem import problem


def quadratic(tasks: int, seed: int = 0) -> Levels:
  """Losses |A_i p - b_i|^2 on two batches."""
  rng = np.random.default_rng(seed)
  a, b = rng.normal(size=(2, tasks, 3, 5)), rng.normal(size=(2, tasks, 3))
  a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)

  def losses(level):
    return lambda p: jnp.sum((jnp.einsum("tij,j->ti", a[level], p["w"]) - b[level]) ** 2, axis=1)

  return Levels({"w": jnp.asarray(rng.normal(size=5), jnp.float32)}, losses(0), losses(1), *[jnp.ones(tasks, bool)] * 2)


def learn(method, levels):
  """What the method makes of its first state: train weights, validation weights, the next state."""
  return jax.jit(lambda: method.learn(levels, method.init(3)))()


def unrolled(levels, weights, rate):
  gradient = jax.grad(lambda p: jnp.sum(weights * levels.train(p)))(levels.params)
  return levels.valid(jax.tree.map(lambda p, g: p - rate * g, levels.params, gradient))


@pytest.mark.parametrize("primary", [None, (True, False, False)])
def test_auto_lambda_descends_on_the_validation_loss_after_a_step(primary):
  levels, rate = quadratic(3), 0.01
  method = mtl.bilevel.auto_lambda(inner_learning_rate=rate, primary=primary, optimizer=optax.sgd(1.0))
  weights, valid_weights, state = learn(method, levels)
  counted = jnp.ones(3) if primary is None else jnp.array(primary, jnp.float32)
  expected = jax.jit(jax.grad(lambda w: jnp.sum(counted * unrolled(levels, w, rate))))(jnp.full(3, 0.1))
  np.testing.assert_allclose(weights, 0.1 - expected, rtol=1e-4)
  np.testing.assert_array_equal(method.report(state)["weights"], weights)
  assert valid_weights is None


def test_moml_follows_the_shortest_combination_of_the_hypergradients():
  levels, rate = quadratic(3), 0.01
  method = mtl.bilevel.moml(inner_learning_rate=rate, optimizer=optax.sgd(1.0))
  weights, _, state = learn(method, levels)
  hypergradients = jax.jit(jax.jacobian(lambda s: unrolled(levels, jax.nn.softmax(s), rate)))
  rows = np.asarray(hypergradients(jnp.zeros(3)), np.float64)
  rows /= np.linalg.norm(rows, axis=1, keepdims=True)
  best = min(
    (np.linalg.norm(np.array([a, b, 1 - a - b]) @ rows), a, b)
    for a in np.linspace(0, 1, 201)
    for b in np.linspace(0, 1 - a, 201)
  )
  assert np.linalg.norm(state.value) <= best[0] + 1e-4
  np.testing.assert_allclose(weights, jax.nn.softmax(state.value), rtol=1e-5)


@pytest.mark.parametrize("phi", [0.01, 0.5, 3.0])
def test_forum_solves_its_quadratic_program(phi):
  stack = np.stack([np.random.default_rng(seed).normal(size=(4, 6)) for seed in range(8)])  # three tasks, then q
  directions, qs = stack[:, :3] / np.linalg.norm(stack[:, :3], axis=2, keepdims=True), stack[:, 3]
  gram, across = np.einsum("nti,nsi->nts", directions, directions), np.einsum("nti,ni->nt", directions, qs)
  given = (jnp.asarray(x, jnp.float32) for x in (gram, across, np.sum(qs**2, axis=1)))
  found = jax.jit(jax.vmap(lambda *each: constrained_shares(*each, phi)))(*given)
  binds = 0
  for shares, rows, q in zip(np.asarray(found, np.float64), directions, qs, strict=True):

    def value(z, rows=rows, q=q):
      return 0.5 * np.sum((z[:3] @ rows + z[3] * q) ** 2) - z[3] * phi * (q @ q)

    on_simplex = {"type": "eq", "fun": lambda z: z[:3].sum() - 1}
    exact = minimize(value, [1 / 3] * 3 + [0.1], bounds=[(0, None)] * 4, constraints=on_simplex, tol=1e-12)
    multiplier = max(0.0, phi - shares @ rows @ q / (q @ q))
    assert value(np.append(shares, multiplier)) <= exact.fun + 1e-5
    binds += multiplier > 0
  assert binds > 0


def test_forum_by_hand():
  levels = quadratic(3)
  method = mtl.bilevel.forum(phi=0.5, inner_learning_rate=0.01, inner_steps=2, optimizer=optax.sgd(1.0))
  train_weights, valid_weights, state = learn(method, levels)
  w = jnp.ones(3) / 3
  near, descent = levels.params, jax.jit(jax.grad(lambda p: jnp.sum(w * levels.train(p))))
  for _ in range(2):
    near = jax.tree.map(lambda p, g: p - 0.01 * g, near, descent(near))
  q = lambda s, p: jnp.sum(jax.nn.softmax(s) * (levels.train(p) - levels.train(near)))  # noqa: E731
  of_s, of_p = jax.jit(jax.grad(q, argnums=(0, 1)))(jnp.zeros(3), levels.params)
  upper = np.asarray(jax.jit(jax.jacobian(levels.valid))(levels.params)["w"])
  directions = upper / np.linalg.norm(upper, axis=1, keepdims=True)
  square = float(jnp.sum(of_s**2) + jnp.sum(of_p["w"] ** 2))
  shares = np.asarray(state.shares)
  multiplier = max(0.0, 0.5 - shares @ directions @ np.asarray(of_p["w"]) / square)
  np.testing.assert_allclose(train_weights, multiplier * w, rtol=1e-4)
  np.testing.assert_allclose(valid_weights @ upper, shares @ directions, rtol=1e-4)
  np.testing.assert_allclose(state.logits.value, -multiplier * of_s, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", mtl.bilevel.names())
@pytest.mark.slow
def test_steps_train_on_every_net_and_compile_once(name):
  net, tasks, batch, _ = problem(3)
  method, tx = getattr(mtl.bilevel, name)(inner_learning_rate=0.02), optax.adam(1e-2)
  _, _, valid, _ = problem(3, seed=1)
  state = mtl.init_train_state(net, tasks, method, tx, batch, jax.random.key(0))
  step = jax.jit(mtl.make_bilevel_step(mtl.objective(net, tasks), method, tx), donate_argnums=0)
  history = []
  for _ in range(40):
    state, metrics = step(state, (batch, valid))
    history.append(sum(float(loss) for loss in metrics["losses"].values()))
  assert step._cache_size() == 1
  assert history[-1] < 0.8 * history[0]
  assert int(state.skipped) == 0


def test_auto_lambda_turns_away_from_a_harmful_task():
  """The primary task's validation loss falls if the second task is learned and rises if the third is."""
  target, rate = jnp.array([1.0, -1.0]), 0.1
  levels_at = lambda p: Levels(  # noqa: E731
    p,
    lambda q: jnp.stack([jnp.sum((q - target) ** 2), jnp.sum((q - target) ** 2), jnp.sum((q + target) ** 2)]),
    lambda q: jnp.stack([jnp.sum((q - target) ** 2), jnp.zeros(()), jnp.zeros(())]),
    *[jnp.ones(3, bool)] * 2,
  )
  method = mtl.bilevel.auto_lambda(learning_rate=0.01, inner_learning_rate=rate, primary=(True, False, False))
  step = jax.jit(lambda state: method.learn(levels_at(jnp.zeros(2)), state))
  state = method.init(3)
  for _ in range(20):
    weights, _, state = step(state)
  assert weights[1] > 0.15 > 0.05 > weights[2]


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: mtl.bilevel.auto_lambda(learning_rate=0.0), "auto_lambda: learning_rate is 0.0"),
    (lambda: mtl.bilevel.auto_lambda(primary=[False]), "no task is primary"),
    (lambda: mtl.bilevel.auto_lambda(primary=[True]).init(2), "primary has 1 entries, expected 2"),
    (lambda: mtl.bilevel.moml(inner_learning_rate=-1.0), "moml: inner_learning_rate is -1.0"),
    (lambda: mtl.bilevel.forum(phi=0.0), "forum: phi is 0.0"),
    (lambda: mtl.bilevel.forum(inner_steps=0), "forum: inner_steps is 0"),
  ],
)
def test_mistakes(make, message):
  with pytest.raises(mtl.UserError, match=message):
    make()
