"""Towers tied by penalties, and the proximal steps of these."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from tests.arch._small import X, heads, in_chain, predicted, same, started, trunk

W = jnp.array([[3.0, 1.0], [1.0, 3.0]])
GRAPH = np.array([[0.0, 0.5], [0.5, 0.0]])
VALUES = {"l2": 8.0, "laplacian": 4.0, "trace_norm": 6.0, "l1": 8.0, "l21": 2 * 10**0.5}
every_penalty = pytest.mark.parametrize("penalty", VALUES)


def graph_of(penalty):
  return {"graph": GRAPH} if penalty == "laplacian" else {}


def term(penalty, smoothing=1e-5):
  net = mtl.arch.soft_sharing(trunk(), heads("ab"), penalty, smoothing=smoothing, **graph_of(penalty))
  return lambda w: net.terms["sharing"].value({"shared": {"w": w}}, {})


@every_penalty
def test_values_of_penalties(penalty):
  np.testing.assert_allclose(term(penalty)(W), VALUES[penalty], rtol=1e-4)


@every_penalty
def test_gradients_are_finite_where_towers_are_zero_or_alike(penalty):
  for w in (jnp.zeros((2, 3)), jnp.ones((2, 3))):
    assert np.isfinite(jax.grad(term(penalty))(w)).all()


@every_penalty
def test_proximal_steps_are_minima(penalty):
  start, r, value = jax.random.normal(jax.random.key(0), (2, 5)), 0.3, term(penalty)
  tx = mtl.arch.proximal(penalty, lambda step: r * (step + 1), **graph_of(penalty))
  params = {"shared": {"w": start}, "task": {"a": jnp.ones(2)}}
  state = tx.init(params)
  updates, after = tx.update(jax.tree.map(jnp.zeros_like, params), state, params)
  found = optax.apply_updates(params, updates)
  assert not np.any(updates["task"]["a"]) and after.step == 1
  moves = 0.05 * jax.random.normal(jax.random.key(1), (50, 2, 5))

  @jax.vmap
  def objective(v):
    return jnp.sum((v - start) ** 2) / 2 + r * value(v)

  tried = jnp.concatenate([jnp.zeros((1, 2, 5)), (start - found["shared"]["w"])[None], moves])
  best, before, *others = objective(jnp.broadcast_to(found["shared"]["w"][None], tried.shape) + tried)
  assert best < before - 1e-3 and best < min(others)


def test_golden_values_of_proximal_steps():
  np.testing.assert_allclose(mtl.arch.prox_trace_norm(W, 1.0), [[2, 1], [1, 2]], atol=1e-5)
  np.testing.assert_allclose(
    mtl.arch.prox_l21(jnp.array([[3, 0.6, 0], [4, 0.8, 0]]), 2.0), [[1.8, 0, 0], [2.4, 0, 0]], atol=1e-6
  )
  two, pair = jnp.array([[1.0], [3.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
  np.testing.assert_allclose(mtl.arch.prox_laplacian(two, 0.5, pair), [[5 / 3], [7 / 3]], rtol=1e-6)
  # However strong, it moves tasks to their mean and no further.
  np.testing.assert_allclose(mtl.arch.prox_laplacian(two, 1e8, pair), [[2], [2]], rtol=1e-6)


def test_without_a_penalty_it_is_cross_stitch_that_does_not_mix():
  soft = mtl.arch.soft_sharing(in_chain(), heads(), strength=0.0)
  stitched = mtl.arch.cross_stitch(in_chain(), heads(), keep=1.0)
  params, state = started(stitched)
  own = {"shared": params["shared"]["towers"], "task": params["task"]}
  same(predicted(soft, own, state), predicted(stitched, params, state))


def test_the_stronger_the_penalty_the_closer_to_hard_sharing():
  """Exactly hard sharing in the limit, whose step is the mean of the tasks'."""
  tasks = {name: mtl.tasks.regression(name) for name in "ab"}
  batch = {"x": X, "a": X[:, 0], "b": X[:, 1] - 1}
  hard, soft = mtl.arch.hard_sharing(trunk(6), heads("ab")), mtl.arch.soft_sharing(trunk(6), heads("ab"), strength=0.0)
  params, state = started(hard)
  stacked = {**params, "shared": jax.tree.map(lambda w: jnp.stack([w, w]), params["shared"])}

  def training(net, tx):
    @jax.jit
    def run(params, factor, r):
      def loss(params):
        return sum(mtl.objective(net, tasks)(params, state, batch)[0].values())

      for _ in range(3):
        gradient = jax.grad(loss)(params)
        updates = {part: jax.tree.map(lambda g, k=k: -k * g, gradient[part]) for part, k in factor.items()}
        if tx is not None:
          updates, _ = tx(r).update(updates, tx(r).init(params), params)
        params = optax.apply_updates(params, updates)
      return params["shared"]["Dense_0"]["kernel"]

    return run

  alike = training(hard, None)(params, {"shared": 0.1, "task": 0.1}, 0.0)
  run = training(soft, lambda r: mtl.arch.proximal("l2", lambda step: r))
  found = [run(stacked, {"shared": 0.2, "task": 0.1}, r) for r in (0.0, 0.3, 1e6)]
  distances = [float(jnp.abs(towers - jnp.stack([alike, alike])).max()) for towers in found]
  assert distances[0] > distances[1] > 1e-3 > 1e-5 > distances[2]


def test_what_it_reports_and_keeps_of_some_tasks():
  net = mtl.arch.soft_sharing(trunk(6), heads())
  params, state = started(net)
  alike = {**params, "shared": jax.tree.map(lambda w: w.at[1].set(-w[0]).at[2].set(w[0]), params["shared"])}
  expected = [[1, -1, 1], [-1, 1, -1], [1, -1, 1]]
  np.testing.assert_allclose(net.report(alike, state)["similarity"], expected, atol=1e-5)
  some = net.only(["b"])
  params, state = started(some)
  assert some.terms["sharing"].value(params, {}) > 0 and some.report(params, state)["similarity"].shape == (3, 3)


def test_mistakes():
  soft, proximal = inspect.unwrap(mtl.arch.soft_sharing), inspect.unwrap(mtl.arch.proximal)
  for match, call in {
    "soft_sharing: unknown penalty 'trace' .*choose from l2": lambda: soft(trunk(), heads(), "trace"),
    "proximal: unknown penalty 'l3'": lambda: proximal("l3"),
    r"'laplacian' takes a graph \(T, T\).*found none": lambda: soft(trunk(), heads(), "laplacian"),
    r"found one of shape \(2,\)": lambda: soft(trunk(), heads(), "laplacian", graph=np.ones(2)),
    "symmetric, of weights >= 0, found one that is not": lambda: proximal("laplacian", graph=np.eye(2) - 2),
    "graph is for 2 tasks, expected one for 3": lambda: soft(trunk(), heads(), "laplacian", graph=GRAPH),
    "graph is for penalty='laplacian', found it with 'l2'": lambda: soft(trunk(), heads(), graph=GRAPH),
    "smoothing is 0.0, expected above 0": lambda: soft(trunk(), heads(), smoothing=0.0),
    r"proximal: moves parameters, found none": lambda: proximal().update({}, None),
    "proximal: shared/w is one number": lambda: stepped(proximal(), {"shared": {"w": jnp.ones(())}}),
    "no shared parameter matches": lambda: stepped(proximal(), {"w": jnp.ones(2)}),
  }.items():
    with pytest.raises(mtl.UserError, match=match):
      call()


def stepped(tx, params):
  return tx.update(params, tx.init(params), params)
