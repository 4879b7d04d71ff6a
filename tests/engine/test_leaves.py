"""Leaves of features and parameters of every sort: masks, inputs handed on, towers, empty and complex ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.analysis.conflict import gradient_cosines
from mtl_jax.engine.linearize import linearize
from mtl_jax.objective import Branch, Objective
from tests.engine._problem import relative_distance

WEIGHTS = (0.5, -2.0)
ENGINES = {
  "stacked": mtl.engine.stacked(one_by_one=False),
  "gram": mtl.engine.gram(),
  "factored": mtl.engine.factored(one_by_one=True),
  "auto": mtl.engine.auto(),
  "sketched": mtl.engine.sketched(2**16),  # a sum for each entry: exact
}
WATCHED = mtl.balance.equal()._replace(
  needs=frozenset({"losses", "gram"}),
  weigh=lambda stats, state: (jnp.array(WEIGHTS, jnp.float32), stats.gram),
)
X = jax.random.normal(jax.random.key(3), (4, 5))


def cut(trunk, heads):
  """An objective of these heads, `features -> loss`."""

  def losses(params, state, batch, key):
    h = trunk(params["shared"], batch)
    return {name: head(h) for name, head in heads.items()}, {"state": state}

  def branches(key):
    each = {name: lambda p, s, h, b, k, head=head: (head(h), s) for name, head in heads.items()}
    return (Branch(lambda p, s, b, k: (trunk(p, b), s), each),), {"shared": None, "task": dict.fromkeys(heads)}

  return Objective(losses, tuple(heads), branches)


def run(engine, objective, shared, batch=X):
  """The gradient and the Gram matrix by an engine."""
  task = dict.fromkeys(objective.names, ())
  state = {"shared": (), "task": task}

  @jax.jit
  def found(shared, batch):
    linearized = linearize(objective, {"shared": shared, "task": task}, state, batch, None)
    return engine.run(linearized, WATCHED, None, engine.init(len(objective.names)))[::2]

  return found(shared, batch)


def rows_of(objective, shared, batch=X):
  task = dict.fromkeys(objective.names, ())
  state = {"shared": (), "task": task}
  by_name = lambda shared: objective({"shared": shared, "task": task}, state, batch)[0]  # noqa: E731
  return jax.jit(jax.jacrev(lambda shared: jnp.stack(list(by_name(shared).values()))))(shared)


def matrix_of(rows):
  flat = jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(rows)], axis=1)
  return jnp.matmul(flat, flat.T, precision="highest")


def check(engine, objective, shared):
  rows = rows_of(objective, shared)
  gradient, gram = run(engine, objective, shared)
  expected = jax.tree.map(lambda leaf: jnp.tensordot(jnp.array(WEIGHTS), leaf, 1), rows)
  np.testing.assert_allclose(gram, matrix_of(rows), rtol=1e-4)
  assert jax.tree.map(jnp.shape, gradient) == jax.tree.map(jnp.shape, expected)
  for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


W = {"w": jax.random.normal(jax.random.key(4), (5, 3))}


def with_masks(p, x):
  h = jnp.tanh(x @ p["w"])
  ids, key = jnp.array([2, 0, 1, 1]), jax.random.key(7)
  return {"h": h, "mask": h > 0, "nothing": None, "more": (ids, key, jnp.int8(2))}


def masked_heads():
  def a(f):
    return jnp.sum(jnp.where(f["mask"], f["h"], 0.0) ** 2) * f["more"][2].astype(jnp.float32)

  def b(f):
    noise = jax.random.normal(f["more"][1], (4,))
    return jnp.sum(jnp.take_along_axis(f["h"], f["more"][0][:, None], axis=1)[:, 0] * noise)

  return {"a": a, "b": b}


@pytest.mark.parametrize("engine", [*ENGINES, "features", "losses"])
def test_masks_indices_and_keys_go_on_to_the_heads(engine):
  objective = cut(with_masks, masked_heads())
  if engine in ENGINES:
    return check(ENGINES[engine], objective, W)
  gradient, gram = run(getattr(mtl.engine, engine)(), objective, W)
  expected = jnp.tensordot(jnp.array(WEIGHTS), rows_of(objective, W)["w"], 1)
  np.testing.assert_allclose(gradient["w"], expected, rtol=1e-4, atol=1e-6)
  if engine == "features":
    f = with_masks(W, X)
    heads = jax.vmap(jnp.ravel)(
      jnp.stack([jax.grad(lambda h, g=g: g(f | {"h": h}))(f["h"]) for g in masked_heads().values()])
    )
    np.testing.assert_allclose(gram, heads @ heads.T, rtol=1e-5)


@pytest.mark.parametrize("cut_into", [1, 2])
@pytest.mark.slow
def test_a_step_of_a_net_whose_trunk_gives_a_mask(cut_into):
  """From the public functions, with pieces of the batch too."""
  heads = {
    "a": mtl.Net(
      lambda key, f: ({"v": jnp.ones(3)}, {}), lambda p, s, f, **_: (jnp.where(f[1], f[0], 0.0) @ p["v"], s)
    ),
    "b": mtl.Net(lambda key, f: ({"v": jnp.ones(3)}, {}), lambda p, s, f, **_: (f[0] @ p["v"], s)),
  }
  trunk = mtl.Net(lambda key, x: (W, {}), lambda p, s, x, **_: ((x @ p["w"], x[:, :3] > 0), s))
  net = mtl.arch.microbatch(mtl.arch.hard_sharing(trunk, heads), cut_into)
  tasks = {name: mtl.tasks.regression(f"y_{name}") for name in heads}
  batch = {"x": X, "y_a": jnp.arange(4.0), "y_b": jnp.ones(4)}
  balancer, tx, found = mtl.balance.pcgrad(), optax.sgd(0.1), []
  for engine in (mtl.engine.stacked(), mtl.engine.gram(), mtl.engine.features()):
    state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), engine=engine)
    step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine))
    found.append(step(state, batch)[0].params)
  assert relative_distance(found[1], found[0]) < 1e-5
  assert not jnp.array_equal(found[2]["shared"]["w"], W["w"])


def test_pieces_need_features_that_begin_with_the_examples():
  trunk = mtl.Net(lambda key, x: (W, {}), lambda p, s, x, **_: ((x @ p["w"], jnp.ones(())), s))
  pieces = mtl.arch.microbatch(trunk, 2)
  with pytest.raises(mtl.UserError, match=r"the trunk gives an array \(\) for 2 examples"):
    pieces.apply(W, {}, X)


def test_only_features_that_depend_on_the_shared_parameters_count():
  """The input handed on beside the output, and a feature whose gradient is stopped."""

  def trunk(p, x):
    h = x @ p["w"]
    return {"h": h, "x": x, "stopped": jax.lax.stop_gradient(h)}

  heads = {
    "a": lambda f: jnp.sum(f["h"] ** 2) + 100.0 * jnp.sum(f["x"] ** 2) + jnp.sum(f["stopped"] ** 3),
    "b": lambda f: jnp.sum(jnp.sin(f["h"])) - 50.0 * jnp.sum(f["x"]),
  }
  _, gram = run(mtl.engine.features(), cut(trunk, heads), W)
  h = X @ W["w"]
  rows = jnp.stack([2.0 * h, jnp.cos(h)]).reshape(2, -1)
  np.testing.assert_allclose(gram, rows @ rows.T, rtol=1e-5)


def test_a_leaf_that_one_task_reads_counts_beside_a_shared_one():
  def trunk(p, x):
    h = x @ p["w"]
    return {"h": h, "a": 2.0 * h}

  heads = {"a": lambda f: jnp.sum(f["h"]) + jnp.sum(f["a"] ** 2), "b": lambda f: jnp.sum(f["h"] ** 2)}
  _, gram = run(mtl.engine.features(), cut(trunk, heads), W)
  h = X @ W["w"]
  rows = jnp.stack([jnp.concatenate([jnp.ones_like(h), 4.0 * h]), jnp.concatenate([2.0 * h, 0.0 * h])]).reshape(2, -1)
  np.testing.assert_allclose(gram, rows @ rows.T, rtol=1e-5)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint], ids=["plain", "jit", "checkpoint"])
def test_towers_are_no_shared_representation(wrap):
  towers = cut(
    wrap(lambda p, x: {"a": x @ p["w"], "b": jnp.sin(x @ p["w"])}),
    {t: wrap(lambda f, t=t: jnp.sum(f[t] ** 2)) for t in "ab"},
  )
  with pytest.raises(mtl.UserError, match="tasks 'a' and 'b' read no leaf of the features in common") as error:
    run(mtl.engine.features(), towers, W)
  assert "use gram(), factored() or stacked()" in str(error.value) and "\n" not in str(error.value)
  check(mtl.engine.gram(), towers, W)


def test_features_without_a_way_to_the_parameters():
  heads = {"a": lambda f: jnp.sum(f), "b": lambda f: jnp.sum(f**2)}
  with pytest.raises(mtl.UserError, match="no gradient at the features reaches the shared parameters"):
    run(mtl.engine.features(), cut(lambda p, x: x, heads), W)
  for name, engine in ENGINES.items():
    gradient, gram = run(
      engine, cut(lambda p, x: jnp.where(x > 0, 1, 0), {t: lambda f: f.sum().astype(jnp.float32) for t in "ab"}), W
    )
    assert not jnp.any(gradient["w"]) and not jnp.any(gram), name


EMPTY = W | {"empty": jnp.zeros((0, 5))}


def with_empty(p, x):
  return jnp.tanh(x @ p["w"]) + jnp.sum(x @ p["empty"].T)


HEADS = {"a": lambda h: jnp.sum(h**2), "b": lambda h: jnp.sum(jnp.sin(h))}


@pytest.mark.parametrize("engine", ENGINES)
def test_parameters_without_entries(engine):
  check(ENGINES[engine], cut(with_empty, HEADS), EMPTY)


@pytest.mark.slow
def test_gradients_without_entries():
  objective = cut(with_empty, HEADS)
  task = dict.fromkeys("ab", ())
  matrix = matrix_of(rows_of(objective, EMPTY))
  cosine = gradient_cosines(objective)({"shared": EMPTY, "task": task}, {"shared": (), "task": task}, X)["a,b"]
  np.testing.assert_allclose(cosine, matrix[0, 1] / jnp.sqrt(matrix[0, 0] * matrix[1, 1]), rtol=1e-5)
  np.testing.assert_array_equal(mtl.balance.gram({"empty": jnp.zeros((2, 0, 5))}), np.zeros((2, 2)))
  tx = mtl.aggregate(mtl.balance.mgda(), 2)
  stacked = {"w": jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]]), "empty": jnp.zeros((2, 0, 5))}
  params = {"w": jnp.zeros(3), "empty": jnp.zeros((0, 5))}
  updates, _ = tx.update(mtl.TaskGradients(stacked), tx.init(params), params, losses=jnp.ones(2))
  np.testing.assert_allclose(updates["w"], [0.0, 1.0, 1.0], atol=1e-6)
  assert updates["empty"].shape == (0, 5)


@pytest.mark.parametrize("engine", ENGINES)
def test_complex_parameters_are_two_real_ones(engine):
  real, imaginary = jax.random.normal(jax.random.key(5), (2, 5, 5))

  def trunk(w, x):
    h = jax.lax.complex(x, 0.5 * x) @ w
    h = jnp.sin(0.1 * h) @ w.T
    return jnp.stack([h.real, h.imag])

  whole, parts = (
    cut(lambda p, x: trunk(p["w"], x), HEADS),
    cut(lambda p, x: trunk(jax.lax.complex(p["re"], p["im"]), x), HEADS),
  )
  expected = matrix_of(rows_of(parts, {"re": real, "im": imaginary}))
  gradient, gram = run(ENGINES[engine], whole, {"w": jax.lax.complex(real, imaginary)})
  np.testing.assert_allclose(gram, expected, rtol=1e-4)
  rows = rows_of(whole, {"w": jax.lax.complex(real, imaginary)})["w"]
  np.testing.assert_allclose(
    gradient["w"], jnp.tensordot(jnp.array(WEIGHTS, jnp.complex64), rows, 1), rtol=1e-3, atol=1e-4
  )


def test_parameters_that_have_no_gradient():
  with pytest.raises(mtl.UserError, match="parameter shared/ids has dtype int32, which has no gradient"):
    run(mtl.engine.stacked(), cut(with_masks, masked_heads()), W | {"ids": jnp.arange(3)})
