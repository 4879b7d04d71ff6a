"""What is minimised beside the tasks: the same G, weights and steps as without, and the terms' own gradients."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.engine.linearize import linearize
from mtl_jax.objective import at_step
from tests.engine._problem import one_step, problem, relative_distance, update

RATE = 0.1  # of `one_step`
# Importance of the experts of a mixture: its squared coefficient of variation over the batch.
TERMS = {
  "balance": mtl.terms.of_features(lambda z: jnp.var(jnp.mean(nn.softmax(z), axis=0)) * 100.0, strength=0.5),
  "sparse": mtl.terms.l1("kernel", strength=0.01),
  "consistent": mtl.terms.of_predictions(lambda y, batch: (y["t0"] - y["t1"])[:, 0] ** 2, strength=0.3),
}


def gradient(net, tasks, batch, inputs, params):
  """The gradient of all terms by automatic differentiation of the whole."""

  def total(params):
    return mtl.terms.total(mtl.objective(net, tasks, inputs)(params, state, batch)[1]["terms"])

  state = {"shared": {}, "task": {name: {} for name in tasks}}
  return jax.jit(jax.grad(total))(params)


def later(term):
  """The term from the second step on: one program is a step without it, then one with it."""
  return dataclasses.replace(term, strength=lambda step: jnp.where(step > 0, term.strength, 0.0))


def check(given, balancer, engine, terms=TERMS):
  """A step with terms has the weights of one without; the updates differ by the gradient of the terms."""
  net, tasks, batch, inputs = given
  waiting, tx = mtl.arch.with_terms(net, {name: later(term) for name, term in terms.items()}), optax.sgd(RATE)
  state = mtl.init_train_state(waiting, tasks, balancer, tx, batch, jax.random.key(1), inputs=inputs, engine=engine)
  step = jax.jit(mtl.make_train_step(mtl.objective(waiting, tasks, inputs), balancer, tx, engine))
  plain, metrics = step(state, batch)
  after, found = step(state._replace(step=state.step + 1), batch)
  for name in tasks:
    np.testing.assert_allclose(found["weights"][name], metrics["weights"][name], rtol=1e-6)
    np.testing.assert_allclose(found["losses"][name], metrics["losses"][name], rtol=1e-6)
  assert set(found["terms"]) == set(terms)
  expected = gradient(mtl.arch.with_terms(net, terms), tasks, batch, inputs, state.params)
  moved = jax.tree.map(lambda u: u / -RATE, update(plain.params, after.params))
  assert relative_distance(moved, expected) < 2e-4
  return found["terms"]


ENGINES = {  # but `auto`, which takes one of them
  "stacked": mtl.engine.stacked(),
  "stacked batched": mtl.engine.stacked(one_by_one=False),
  "gram": mtl.engine.gram(),
  "factored": mtl.engine.factored(),
  "features": mtl.engine.features(),
  "sketched": mtl.engine.sketched(256),
  "every": mtl.engine.every(2, mtl.engine.gram()),
}


def compare(given, balancer, names, terms=TERMS):
  """Engines find the weights that they find without terms; their gradients differ by the terms'. One program."""
  net, tasks, batch, inputs = given
  waiting = mtl.arch.with_terms(net, {name: later(term) for name, term in terms.items()})
  objective, count = mtl.objective(waiting, tasks, inputs), len(tasks)
  state = mtl.init_train_state(net, tasks, balancer, optax.sgd(RATE), batch, jax.random.key(1), inputs=inputs)

  @jax.jit
  def run(step, params, batch):
    linear = linearize(at_step(objective, step), params, state.state, batch, None)
    engines = {name: ENGINES[name] for name in names}
    found = {name: e.run(linear, balancer, state.balancer, e.init(count))[:2] for name, e in engines.items()}
    return found, linear.pull_heads(jnp.ones(count)), linear.losses, linear.terms

  (plain, plain_heads, losses, _), (found, heads, same, values) = (run(i, state.params, batch) for i in (0, 1))
  np.testing.assert_allclose(same, losses, rtol=1e-6)
  assert set(values) == set(terms)
  expected = gradient(mtl.arch.with_terms(net, terms), tasks, batch, inputs, state.params)
  for name, (moved, weights) in found.items():
    np.testing.assert_allclose(weights, plain[name][1], rtol=1e-6, err_msg=name)
    apart = jax.tree.map(np.subtract, {"shared": moved, "task": heads}, {"shared": plain[name][0], "task": plain_heads})
    assert relative_distance(apart, expected) < 1e-3, name  # a difference of large gradients
  return values


@pytest.mark.slow
def test_terms_are_no_tasks():
  """To any engine; whole steps are below."""
  terms = compare(problem(3), mtl.balance.pcgrad(), ENGINES)
  assert terms["sparse"] > 1.0 and terms["consistent"] > 0.0


def test_terms_of_no_strength_are_as_if_there_were_none():
  net, *rest = problem(2)
  without = mtl.arch.with_terms(net, {name: dataclasses.replace(term, strength=0.0) for name, term in TERMS.items()})
  (_, plain, metrics), (_, after, _) = (one_step(each, *rest, mtl.balance.equal(), None) for each in (net, without))
  assert metrics["terms"] == {}
  assert relative_distance(after, plain) < 1e-6


@pytest.mark.parametrize("method", ["uncertainty", "graddrop", "sdmgrad", "famo"])
@pytest.mark.slow
def test_any_method(method):
  halves = method == "sdmgrad"  # it cuts the batch into parts, and a variance over each is not that over the whole
  terms = {name: term for name, term in TERMS.items() if not halves or name != "balance"}
  check(problem(2), getattr(mtl.balance, method)(), None, terms)


def test_terms_of_gates_reach_the_trunk_and_the_gates():
  """Features times a parameter of each head, the strength included, beside tasks of which it changes no weight."""
  net, *rest = problem(2)

  def value(params, features):
    return sum(jnp.sum((features @ own["kernel"]) ** 2, axis=1) for own in params["task"].values())

  term = mtl.terms.of_gates(value, strength=0.3)
  check((net, *rest), mtl.balance.pcgrad(), None, {"gates": term})

  tasks, batch, _ = rest
  params, state = net.init(jax.random.key(2), batch["x"])
  hidden = np.asarray(batch["x"])
  for layer in params["shared"].values():
    hidden = np.maximum(hidden @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]), 0)
  expected = sum(np.mean((hidden @ np.asarray(own["kernel"])) ** 2) for own in params["task"].values())
  net = mtl.arch.with_terms(net, {"gates": term})
  found = mtl.objective(net, tasks)(params, state, batch)[1]["terms"]["gates"]
  assert float(found.value) == pytest.approx(expected, rel=1e-5) and float(found.strength) == pytest.approx(0.3)
  moved = gradient(net, *rest, params)
  assert all(np.any(leaf) for leaf in jax.tree.leaves(moved["shared"]))
  assert all(np.any(own["kernel"]) for own in moved["task"].values())


@pytest.mark.slow
def test_net_without_a_cut():
  terms = {name: term for name, term in TERMS.items() if term.of != "features"}
  # The terms' gradient comes along, and is added at the end.
  compare(problem(2, cut=False), mtl.balance.mgda(), ["gram", "factored"], terms)


@pytest.mark.slow
def test_kept_factors_of_tasks_with_inputs_of_their_own():
  compare(problem(3, own_inputs=True), mtl.balance.mgda(), ["factored"])


@pytest.mark.slow
def test_microbatches_see_the_terms_of_the_whole_batch():
  net, *rest = problem(2)
  whole = check((net, *rest), mtl.balance.mgda(), None)
  pieces = check((mtl.arch.microbatch(net, 4), *rest), mtl.balance.mgda(), None)
  np.testing.assert_allclose(pieces["balance"], whole["balance"], rtol=1e-5)


@pytest.mark.slow
def test_backward_passes_that_are_not_linear():
  @jax.custom_vjp
  def clipped(x):
    return x

  clipped.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -1e-3, 1e-3),))

  class Clipped(nn.Module):
    @nn.compact
    def __call__(self, x):
      return nn.Dense(8)(clipped(nn.tanh(nn.Dense(8)(x))))

  given = problem(2, trunk=Clipped())
  check(given, mtl.balance.mgda(), mtl.engine.gram(), {"sparse": TERMS["sparse"]})


@pytest.mark.slow
def test_plain_function_with_terms_in_its_aux():
  _, tasks, batch, inputs = problem(2)

  def losses(params, state, batch, key):
    hidden = batch["x"] @ params["shared"]
    found = {name: jnp.mean((hidden @ params["task"][name] - batch[f"y_{name}"]) ** 2) for name in tasks}
    return found, {"state": state, "terms": {"decay": 0.5 * jnp.sum(params["shared"] ** 2)}}

  keys = jax.random.split(jax.random.key(0), 3)
  params = {"shared": jax.random.normal(keys[0], (16, 4))}
  params["task"] = {name: jax.random.normal(key, (4,)) for name, key in zip(tasks, keys[1:], strict=True)}
  net = mtl.Net(lambda key, x: (params, {"shared": {}, "task": {name: {} for name in tasks}}), lambda *_: None)
  moved = []
  for objective in (losses, lambda *args: (losses(*args)[0], {"state": args[1]})):
    balancer, tx = mtl.balance.mgda(), optax.sgd(RATE)
    state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(1))
    new, _ = jax.jit(mtl.make_train_step(objective, balancer, tx))(state, batch)
    moved.append(new.params["shared"])
  np.testing.assert_allclose((moved[1] - moved[0]) / RATE, params["shared"], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_auxiliary_tasks_change_no_weight():
  net, tasks, batch, inputs = problem(3)
  helped = {**tasks, "t1": mtl.tasks.auxiliary(tasks["t1"], 0.25)}
  alone = {name: task for name, task in tasks.items() if name != "t1"}
  own = jax.jit(
    jax.grad(lambda p: mtl.objective(net, tasks)(p, {"shared": {}, "task": {n: {} for n in tasks}}, batch)[0]["t1"])
  )
  for engine in ("stacked", "features"):  # one that adds the terms' gradient at the end, one that has it come along
    balancer = mtl.balance.pcgrad()
    before, plain, metrics = one_step(net.only(list(alone)), alone, batch, inputs, balancer, ENGINES[engine])
    whole, after, found = one_step(net, helped, batch, inputs, balancer, ENGINES[engine])
    assert list(found["weights"]) == list(alone) and list(found["terms"]) == ["t1"]
    for name in alone:
      np.testing.assert_allclose(found["weights"][name], metrics["weights"][name], rtol=1e-6)
    expected = jax.tree.map(lambda g: 0.25 * g, own(whole))
    found_update = jax.tree.map(lambda u: u / -RATE, update(whole, after))
    assert relative_distance(found_update["task"]["t1"], expected["task"]["t1"]) < 1e-5
    shared = jax.tree.map(lambda u, v: (u - v) / -RATE, update(whole, after)["shared"], update(before, plain)["shared"])
    assert relative_distance(shared, expected["shared"]) < 2e-4


def test_head_of_an_absent_auxiliary_task_stays():
  net, tasks, batch, _ = problem(2, masked=True)
  tasks = {**tasks, "t1": mtl.tasks.auxiliary(tasks["t1"])}
  balancer, tx = mtl.balance.equal(), optax.adam(0.1)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0))
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx))
  state, _ = step(state, batch)
  after, metrics = step(state, {**batch, "m_t1": jnp.zeros(24)})
  jax.tree.map(np.testing.assert_array_equal, after.params["task"]["t1"], state.params["task"]["t1"])
  assert metrics["terms"]["t1"] == 0.0
  assert relative_distance(after.params["task"]["t0"], state.params["task"]["t0"]) > 0


@pytest.mark.slow
def test_auxiliary_task_with_an_input_of_its_own():
  net, tasks, batch, inputs = problem(3, own_inputs=True)
  tasks = {**tasks, "t2": mtl.tasks.auxiliary(tasks["t2"], 0.5)}
  _, after, metrics = one_step(net, tasks, batch, inputs, mtl.balance.mgda(), mtl.engine.factored())
  _, same, other = one_step(net, tasks, batch, inputs, mtl.balance.mgda(), mtl.engine.stacked())
  assert relative_distance(after, same) < 1e-4
  np.testing.assert_allclose(metrics["terms"]["t2"], other["terms"]["t2"], rtol=1e-6)


class Tempered(nn.Module):
  """A trunk whose features are divided by a temperature that falls with the step."""

  @nn.compact
  def __call__(self, x, step=None):
    temperature = 0.5 if step is None else jnp.maximum(2.0 - 0.5 * jnp.float32(step), 0.5)
    return nn.Dense(8, name="dense")(x) / temperature


@pytest.mark.parametrize(("own_inputs", "pieces", "cut"), [(True, 4, True), (True, 1, False), (False, 4, False)])
def test_temperature_follows_the_step(own_inputs, pieces, cut):
  net, tasks, batch, inputs = problem(2, trunk=Tempered(), own_inputs=own_inputs)
  # A counter in the state would count inputs and pieces.
  net = mtl.arch.microbatch(net if cut else dataclasses.replace(net, cut=None), pieces)
  balancer, tx = mtl.balance.equal(), optax.sgd(0.0)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), inputs=inputs)
  objective = mtl.objective(net, tasks, inputs)
  step = jax.jit(mtl.make_train_step(objective, balancer, tx))
  losses = []
  for _ in range(5):
    state, metrics = step(state, batch)
    losses.append(float(metrics["losses"]["t0"]))
  x, y = batch["x_t0" if own_inputs else "x"], batch["y_t0"]
  for taken, found in enumerate(losses):
    trunk, head = state.params["shared"]["dense"], state.params["task"]["t0"]
    z = (x @ trunk["kernel"] + trunk["bias"][None]) / max(2.0 - 0.5 * taken, 0.5)
    assert found == pytest.approx(float(jnp.mean(((z @ head["kernel"] + head["bias"][None])[:, 0] - y) ** 2)), rel=1e-5)
  assert losses[3] == losses[4] != losses[0]
  final = objective(state.params, state.state, batch)[0]["t0"]  # outside of training: the end of the schedule
  assert float(final) == pytest.approx(losses[-1], rel=1e-6)


def test_strength_follows_a_schedule():
  net, tasks, batch, inputs = problem(2)
  schedule = optax.linear_schedule(0.0, 1.0, 4)
  net = mtl.arch.with_terms(
    net, {"decay": mtl.terms.penalty(lambda p: jnp.sum(p["shared"]["Dense_0"]["bias"]), schedule)}
  )
  balancer, tx = mtl.balance.equal(), optax.sgd(1.0)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0))
  objective = mtl.objective(net, tasks)
  with pytest.raises(mtl.UserError, match="'decay' has a strength that follows the step"):
    objective(state.params, state.state, batch)
  taken = at_step(objective, 2)(state.params, state.state, batch)[1]["terms"]["decay"]
  assert float(taken.strength) == 0.5
  step = jax.jit(mtl.make_train_step(objective, balancer, tx))
  plain = jax.jit(mtl.make_train_step(mtl.objective(dataclasses.replace(net, terms={}), tasks), balancer, tx))
  for n in range(3):
    (new, _), (without, _) = step(state, batch), plain(state, batch)
    moved = without.params["shared"]["Dense_0"]["bias"] - new.params["shared"]["Dense_0"]["bias"]
    np.testing.assert_allclose(moved, n / 4, atol=1e-5)
    state = new


def test_net_reports_in_the_metrics():
  net, tasks, batch, inputs = problem(2)
  net = dataclasses.replace(net, report=lambda params, state: {"bias": params["shared"]["Dense_0"]["bias"]})
  for objective in (net, mtl.arch.microbatch(net, 2)):
    before, after, metrics = one_step(objective, tasks, batch, inputs, mtl.balance.equal(), None)
    np.testing.assert_array_equal(metrics["net"]["bias"], after["shared"]["Dense_0"]["bias"])


def test_bilevel_steps_have_terms_too():
  net, tasks, batch, _ = problem(2)
  method, tx = mtl.bilevel.auto_lambda(), optax.sgd(RATE)
  moved = []
  for each in (net, mtl.arch.with_terms(net, {"sparse": TERMS["sparse"]})):
    state = mtl.init_train_state(each, tasks, method, tx, batch, jax.random.key(0))
    step = jax.jit(mtl.make_bilevel_step(mtl.objective(each, tasks), method, tx))
    new, metrics = step(state, (batch, batch))
    moved.append(new.params)
  expected = gradient(each, tasks, batch, "x", state.params)
  assert relative_distance(jax.tree.map(lambda a, b: (a - b) / RATE, *moved), expected) < 2e-4
  assert metrics["terms"]["sparse"] > 1.0


@pytest.mark.slow
def test_frozen_parameters_have_no_gradient_of_terms():
  net, tasks, batch, _ = problem(2)
  net = mtl.arch.with_terms(net, TERMS)
  balancer, tx = mtl.balance.mgda(), optax.sgd(RATE)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), frozen="Dense_0")
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, frozen="Dense_0"))
  new, metrics = step(state, batch)
  jax.tree.map(np.testing.assert_array_equal, new.params["shared"]["Dense_0"], state.params["shared"]["Dense_0"])
  whole, _ = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx))(
    mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0)), batch
  )
  assert float(metrics["terms"]["sparse"]) == pytest.approx(
    float(mtl.terms.l1("kernel").value(state.params, {})), rel=1e-6
  )
  assert relative_distance(new.params["task"], whole.params["task"]) < 1e-5


def test_mistakes():
  net, tasks, batch, _ = problem(2)
  uncut = dataclasses.replace(net, cut=None)
  with pytest.raises(mtl.UserError, match="'balance' reads features, and this net has no cut"):
    mtl.arch.with_terms(uncut, TERMS)
  with pytest.raises(mtl.UserError, match="'gates' reads features, and this net has no cut"):
    mtl.arch.with_terms(uncut, {"gates": mtl.terms.of_gates(lambda params, features: 0.0)})
  twice = mtl.arch.with_terms(net, TERMS)
  with pytest.raises(mtl.UserError, match="the net has a term 'balance' already"):
    mtl.arch.with_terms(twice, TERMS)
  with pytest.raises(mtl.UserError, match="term 't0' has the name of a task"):
    mtl.objective(mtl.arch.with_terms(net, {"t0": TERMS["sparse"]}), tasks)
  with pytest.raises(mtl.UserError, match="no task is balanced"):
    mtl.objective(net, {name: mtl.tasks.auxiliary(task) for name, task in tasks.items()})
  params, state = net.init(jax.random.key(0), batch["x"])
  wide = mtl.arch.with_terms(net, {"wide": mtl.terms.of_features(lambda z: z)})
  with pytest.raises(mtl.UserError, match=r"term 'wide' has shape \(24, 12\), expected a scalar, or one value per"):
    mtl.objective(wide, tasks)(params, state, batch)
  with pytest.raises(mtl.UserError, match="smoothing is 0, expected above 0"):
    mtl.terms.l1(smoothing=0)


def test_part_of_a_net():
  net, tasks, batch, _ = problem(3)
  params, state = net.init(jax.random.key(0), batch["x"])
  whole, _ = net.apply(params, state, batch["x"])
  for each in (net, dataclasses.replace(net, cut=None)):
    found, _ = each.only(["t2", "t0"]).apply(params, state, batch["x"])
    assert list(found) == ["t2", "t0"]
    np.testing.assert_array_equal(found["t2"], whole["t2"])
  part = net.only(["t2"])
  own, _ = part.init(jax.random.key(0), batch["x"])
  assert list(own["task"]) == ["t2"]
  np.testing.assert_array_equal(part.apply(own, {"shared": {}, "task": {"t2": {}}}, batch["x"])[0]["t2"], whole["t2"])
  with pytest.raises(mtl.UserError, match="only: the net has no task 't9': choose from t0, t1"):
    net.only(["t9"])
