"""Tables of which a step updates the rows of its batch: the dense step by gradient descent, lazy Adam by Adam."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl

COLUMNS = mtl.nn.Embeddings((11, 7), 3)
SPARSE = {"table$": lambda batch: COLUMNS.rows(batch["x"])}
TASKS = {"a": mtl.tasks.binary("a"), "b": mtl.tasks.regression("b", mask="has_b")}
ENGINES = ["losses", "stacked", "gram", "factored", "features", "sketched", "every", "auto"]


def network(arch=mtl.arch.hard_sharing, **options):
  trunk = mtl.arch.chain(mtl.from_linen(COLUMNS), mtl.from_linen(mtl.nn.MLP((4,))))
  return arch(trunk, {name: mtl.from_linen(nn.Dense(1)) for name in TASKS}, **options)


def arrays(count=8, seed=0):
  """Few of the rows, and some of them several times."""
  rng = np.random.default_rng(seed)
  x = np.stack([rng.integers(0, 5, count), rng.integers(3, 7, count)], axis=1).astype(np.int32)
  labels = {"a": rng.integers(0, 2, count).astype(np.int32), "b": rng.normal(size=count).astype(np.float32)}
  return {"x": x, **labels, "has_b": (np.arange(count) % 3 > 0).astype(np.float32)}


def start(net, balancer, tx, engine=None, sparse=SPARSE, **options):
  batch = jax.tree.map(jnp.asarray, arrays())
  state = mtl.init_train_state(net, TASKS, balancer, tx, batch, jax.random.key(0), engine=engine)
  objective = mtl.objective(net, TASKS, **options)
  return mtl.make_train_step(objective, balancer, tx, engine, sparse=sparse), state, batch


def table(params):
  return params["shared"]["stage_0"]["table"]


@pytest.fixture(scope="module")
def dense():
  """The task gradients at the first parameters with the whole table, and the weights that their Gram matrix gives."""
  net = network()
  _, state, batch = start(net, "equal", optax.sgd(0.1))

  def losses(params):
    return jnp.stack(list(mtl.objective(net, TASKS)(params, state.state, batch)[0].values()))

  gradients = jax.jit(jax.jacrev(losses))(state.params)
  weights, _ = mtl.balance.metabalance().weigh(
    mtl.balance.Stats(losses(state.params), mtl.balance.gram(gradients["shared"])), mtl.balance.metabalance().init(2)
  )
  return gradients, weights


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_of_gradient_descent_is_the_dense_one_with_every_engine(engine, dense):
  gradients, exact = dense
  balancer = "equal" if engine == "losses" else "metabalance"
  step, state, batch = start(network(), balancer, optax.sgd(0.5), engine)
  new, metrics = jax.jit(step)(state, batch)
  weights = jnp.stack(list(metrics["weights"].values()))
  if engine not in ("losses", "features", "sketched"):  # which have no or another Gram matrix
    np.testing.assert_allclose(weights, exact, rtol=1e-5)
  wanted = jax.tree.map(
    lambda p, g: p - 0.5 * jnp.tensordot(weights, g, 1), state.params["shared"], gradients["shared"]
  )
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), new.params["shared"], wanted)
  named = np.unique(COLUMNS.rows(batch["x"]))
  moved = np.flatnonzero((table(new.params) != table(state.params)).any(axis=1))
  np.testing.assert_array_equal(moved, named)


def test_adam_is_lazy():
  """Against numpy: rows that the batch does not name keep value and moments; bias corrections follow the step."""
  tx = optax.adamw(optax.linear_schedule(0.1, 0.05, 4), weight_decay=0.01)
  net = network()
  step, state, _ = start(net, "equal", tx)
  step = jax.jit(step)
  gradient = jax.jit(jax.grad(lambda p, b: sum(mtl.objective(net, TASKS)(p, state.state, b)[0].values())))
  value = np.asarray(table(state.params), np.float64)
  mu, nu = np.zeros_like(value), np.zeros_like(value)
  for t in range(3):
    batch = jax.tree.map(jnp.asarray, arrays(seed=t))
    g = np.asarray(table(gradient(state.params, batch)), np.float64)
    rows = np.unique(COLUMNS.rows(batch["x"]))
    mu[rows] = 0.9 * mu[rows] + 0.1 * g[rows]
    nu[rows] = 0.999 * nu[rows] + 0.001 * g[rows] ** 2
    adam = (mu[rows] / (1 - 0.9 ** (t + 1))) / (np.sqrt(nu[rows] / (1 - 0.999 ** (t + 1))) + 1e-8)
    value[rows] -= (0.1 - 0.0125 * t) * (adam + 0.01 * value[rows])
    state, _ = step(state, batch)
    for found, wanted in ((state.params, value), (state.opt_state[0].mu, mu), (state.opt_state[0].nu, nu)):
      np.testing.assert_allclose(table(found), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_copies_of_a_table_pieces_of_a_batch_and_bfloat16():
  """Experts with a table each: the rows of all are those of the batch."""
  experts = network(mtl.arch.mmoe, experts=2, gate=constant_gate())
  net = mtl.arch.microbatch(experts, 2)
  tables = {}
  for sparse in (SPARSE, None):
    step, state, batch = start(net, "equal", optax.sgd(0.5), "stacked", sparse, compute_dtype=jnp.bfloat16)
    tables[bool(sparse)] = jax.jit(step)(state, batch)[0].params["shared"]["experts"]["stage_0"]["table"]
  assert tables[True].shape == (2, 18, 3)
  np.testing.assert_allclose(tables[True], tables[False], rtol=1e-2, atol=1e-3)


def constant_gate():
  def init(key, x):
    return {"logits": jnp.zeros(2)}, {}

  return mtl.Net(init, lambda params, state, x: (jnp.broadcast_to(params["logits"], (x.shape[0], 2)), state))


def test_wrong_rows_do_not_go_unnoticed():
  """The net reads rows that `sparse` does not name: its losses are NaN, and the step changes nothing."""
  step, state, batch = start(network(), "equal", optax.sgd(0.5), "losses", {"table$": lambda batch: batch["x"]})
  new, metrics = jax.jit(step)(state, batch)
  assert np.isnan(metrics["losses"]["a"]) and new.skipped == 1
  np.testing.assert_array_equal(table(new.params), table(state.params))


def test_fit_keeps_which_tables_are_sparse_and_resumes_with_the_same_only(tmp_path):
  def run(sparse, steps, **options):
    data = arrays(32)
    return mtl.fit(
      network(), TASKS, "equal", optax.adam(0.1), data, steps=steps, batch_size=8, sparse=sparse, progress=False,
      engine="losses", run_dir=tmp_path / "run", **options,
    )  # fmt: skip

  run(SPARSE, 2)
  assert json.loads((tmp_path / "run" / "config.json").read_text())["fit"]["sparse"] == ["table$"]
  with pytest.raises(mtl.UserError, match="fit/sparse was"):
    run(None, 2, resume=True)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"sparse": {"tabel$": "x"}}, r"sparse: no parameter matches 'tabel\$': there are shared/stage_0/table"),
    ({"sparse": {"(": "x"}}, r"sparse: '\(' is no regular expression"),
    ({"sparse": {"bias": "x"}}, r"sparse: 'bias' matches 'shared/.*bias', which has the shape \(4,\) and no rows"),
    ({"sparse": {"table$": "ids"}}, r"sparse: 'table\$' reads 'ids', the batch has a, b, has_b, x"),
    ({"sparse": {"table$": "b"}}, r"sparse: the rows of 'table\$' are float32, expected integers"),
    ({"tx": optax.adafactor(0.1, min_dim_size_to_factor=2)}, r"sparse: the optimizer keeps .* of shape \(18,\)"),
    ({"balancer": "moco"}, "sparse: this balancer remembers gradients of every row"),
  ],
)
def test_mistakes(options, message):
  options = {"balancer": "equal", "tx": optax.sgd(0.1), "sparse": SPARSE} | options
  step, state, batch = start(network(), options["balancer"], options["tx"], sparse=options["sparse"])
  with pytest.raises(mtl.UserError, match=message):
    jax.eval_shape(step, state, batch)


def test_a_state_made_for_another_optimizer_is_an_error():
  step, _, batch = start(network(), "equal", optax.sgd(0.1))
  _, state, _ = start(network(), "equal", optax.adam(0.1))
  with pytest.raises(mtl.UserError, match="the train state was made for another optimizer"):
    jax.eval_shape(step, state, batch)
