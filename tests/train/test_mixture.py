"""Training on mixtures: losses and steps by hand, evaluation, resuming, opening again, and mistakes."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.data import batches, mixture
from tests.train._run import digest

TRUNK = mtl.from_linen(nn.Dense(3))


def problem(names):
  net = mtl.arch.hard_sharing(TRUNK, {name: mtl.from_linen(nn.Dense(1)) for name in names})
  return net, {name: mtl.tasks.regression("y") for name in names}


def source(size, seed):
  random = np.random.default_rng(seed)
  return {"x": random.normal(size=(size, 4)).astype(np.float32), "y": random.normal(size=size).astype(np.float32)}


def sources(names, sizes=(5, 9, 14)):
  return {name: source(sizes[i % len(sizes)], i) for i, name in enumerate(names)}


THREE, TWENTY = ["a", "b", "c"], [f"t{i}" for i in range(20)]
TX = optax.sgd(0.1)


def compiled(names, data, **options):
  return mtl.train.compile_programs(*problem(names), mtl.balance.equal(), TX, data, **options)


def first(data, batch_size, number=0):
  iterator = iter(batches(data, batch_size))
  for _ in range(number):
    next(iterator)
  return next(iterator)


def by_hand(params, batch, names):
  """The parameters after a step of size 0.1 on the sum of the tasks' losses, each the mean over its own examples."""

  def losses(params):
    found = {}
    for name in names:
      if f"{name}/x" not in batch:
        found[name] = jnp.zeros(())
        continue
      x, y = batch[f"{name}/x"], batch[f"{name}/y"]
      count = int(np.sum(batch.get(f"{name}/~weight", np.ones(len(y)))))
      trunk, head = params["shared"], params["task"][name]
      z = x[:count] @ trunk["kernel"] + trunk["bias"][None]
      error = (z @ head["kernel"] + head["bias"][None])[:, 0] - y[:count]
      found[name] = jnp.mean(error**2) if count else jnp.zeros(())
    return sum(found.values()), found

  (_, found), grad = jax.value_and_grad(losses, has_aux=True)(params)
  return found, jax.tree.map(lambda p, g: p - 0.1 * g, params, grad)


def close(one, other, tolerance=1e-5):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), one, other)


def plain(params):
  return jax.tree.map(np.asarray, {"shared": params["shared"], "task": {n: params["task"][n] for n in params["task"]}})


@pytest.mark.slow
@pytest.mark.parametrize(
  ("names", "options", "batch_size"),
  [
    (["a", "b"], {"sizes": {"a": 2, "b": 5}}, 7),
    (THREE, {}, 8),  # the shares are 8/3
    (THREE, {"turns": True}, 4),
    (TWENTY, {"sizes": 2}, 40),
    (TWENTY, {}, 50),  # each has two examples or three, in arrays of three
  ],
  ids=["two", "three, filled", "three, in turns", "twenty", "twenty, filled"],
)
def test_a_step_is_that_by_hand(names, options, batch_size):
  data = mixture(sources(names), **options)
  programs = compiled(names, data)
  state = programs.create(jax.random.key(0))
  assert len(jax.tree.leaves(state.params)) == (4 if names == TWENTY else 2 + 2 * len(names))
  batch = first(data, batch_size, number=1)
  before = plain(state.params)
  losses, expected = by_hand(before, dict(batch), names)
  state, metrics = programs.step(state, batch)
  close(dict(metrics["losses"]), losses)
  close(plain(state.params), expected)
  if data.turns:
    here = {key.split("/")[0] for key in batch}
    assert len(here) == 1 and {n for n, p in metrics["present"].items() if p} == here
    name = min(set(names) - here)
    jax.tree.map(np.testing.assert_array_equal, plain(state.params)["task"][name], before["task"][name])


@pytest.mark.slow
def test_other_tasks_examples_do_not_change_a_task_s_loss_nor_its_head():
  """Neither which they are nor how many."""
  found = []
  for given, size in [({}, 2), ({"b": source(9, 77)}, 2), ({"b": source(4, 78), "c": source(30, 79)}, 7)]:
    data = mixture(sources(THREE) | given, sizes={"a": 3, "b": size, "c": 2})
    programs = compiled(THREE, data)
    state, metrics = programs.step(programs.create(jax.random.key(0)), first(data, 5 + size))
    found.append((metrics["losses"]["a"], plain(state.params)["task"]["a"], metrics["losses"]["b"]))
  for loss, head, _ in found[1:]:
    close((loss, head), found[0][:2], 1e-6)
  assert len({float(loss) for _, _, loss in found}) == 3


@pytest.mark.parametrize("names", [THREE, TWENTY], ids=["three", "twenty"])
@pytest.mark.slow
def test_fit_evaluates_each_task_on_its_own_data_and_the_run_opens_again(names, tmp_path):
  net, tasks = problem(names)
  valid = sources(names, (3, 300, 41))
  options = {"steps": 4, "valid": valid, "batch_size": len(names) * 5 // 2, "run_dir": tmp_path, "progress": False}
  fit = mtl.fit(net, tasks, mtl.balance.equal(), TX, sources(names), **options)
  last = next(line for line in fit.history if line["kind"] == "valid" and line["step"] == fit.best_step)
  assert {line["kind"] for line in fit.history} == {"train", "valid"}
  loaded = mtl.load(tmp_path, net, tasks)
  assert loaded.step == fit.best_step and digest((loaded.params, loaded.state)) == digest((fit.params, fit.net_state))
  assert list(loaded.data.arrays)[:2] == [f"{names[0]}/x", f"{names[0]}/y"]
  x = {"x": valid[names[1]]["x"]}
  expected = mtl.train.predict_all(net, tasks, fit.params, fit.net_state, x, batch_size=loaded.at_once)
  jax.tree.map(np.testing.assert_array_equal, loaded.predict(x), expected)
  for name in names[:3]:
    alone = mtl.train.make_evaluate(net.only([name]), {name: tasks[name]})
    params, state = ({"shared": t["shared"], "task": {name: t["task"][name]}} for t in (fit.params, fit.net_state))
    own = alone(params, state, valid[name])[name]
    assert own == pytest.approx({metric: last[f"{name}/{metric}"] for metric in own}, rel=1e-5)
  assert loaded.evaluate({"valid": valid})["valid"][names[2]]["loss"] == pytest.approx(last[f"{names[2]}/loss"], 1e-5)


def test_a_run_whose_tasks_share_examples_opens_again(tmp_path):
  net, tasks = problem(THREE)
  data = mixture({("b", "c"): source(9, 0), "a": source(5, 1)}, turns=True)
  options = {"steps": 3, "batch_size": 4, "run_dir": tmp_path, "progress": False}
  fit = mtl.fit(net, tasks, mtl.balance.equal(), TX, data, **options)
  loaded = mtl.load(tmp_path, net, tasks)
  assert digest(loaded.params) == digest(fit.params) and "b+c/x" in loaded.data.arrays
  with pytest.raises(mtl.UserError, match="has no input 'z', only 'x', 'y'"):
    mtl.load(tmp_path, net, tasks, inputs="z")


def noisy(batch, key):
  assert set(batch) <= set(THREE) and all(set(own) == {"x", "y"} for own in batch.values())
  keys = dict(zip(THREE, jax.random.split(key, 3), strict=True))
  return {n: {**own, "x": own["x"] + 0.1 * jax.random.normal(keys[n], own["x"].shape)} for n, own in batch.items()}


@pytest.mark.parametrize("turns", [False, True], ids=["joint", "turns"])
@pytest.mark.slow
def test_a_run_that_is_killed_and_goes_on_ends_with_the_same_bits(turns, tmp_path):
  net, tasks = problem(THREE)
  data = mixture(sources(THREE), rates="proportional", turns=turns)
  loop = mtl.train.Loop(programs=compiled(THREE, data, transform=noisy))

  def run(steps, loop=loop, run_dir=None, transform=noisy, **options):
    return mtl.fit(
      net, tasks, mtl.balance.equal(), TX, data, steps=steps, batch_size=8, run_dir=run_dir, transform=transform,
      valid=sources(THREE, (4, 2)), eval_every=2, loop=loop, progress=False, **options,
    )  # fmt: skip

  straight = run(10)

  def killed(state):
    if int(state.step) == 6:
      raise KeyboardInterrupt
    return {}

  stopping = dataclasses.replace(loop, probe=killed)
  with pytest.raises(KeyboardInterrupt):
    run(10, stopping, tmp_path / "run")
  resumed = run(10, run_dir=tmp_path / "run", resume=True)
  assert digest(resumed.state) == digest(straight.state)
  assert digest((resumed.params, resumed.net_state)) == digest((straight.params, straight.net_state))
  assert len([line for line in resumed.history if line["kind"] != "probe"]) == len(straight.history)
  plain = run(10, mtl.train.Loop(programs=compiled(THREE, data)), transform=None)
  assert digest(plain.params) != digest(straight.params)


@pytest.mark.slow
def test_batches_in_pieces():
  """`accumulate` changes nothing, and sources that are absent from a turn do not stand in its way."""
  net, tasks = problem(THREE)
  for options in ({"sizes": 4}, {"turns": True}):
    data = mixture(sources(THREE), **options)
    run = {"steps": 3, "batch_size": data.batch_size(None if data.sizes else 4), "progress": False}
    one, other = (mtl.fit(net, tasks, mtl.balance.equal(), TX, data, **run, accumulate=n) for n in (1, 2))
    close(one.params, other.params)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"train": {}}, "the data set holds no arrays"),
    ({"train": {"a": source(5, 0), "b": source(5, 0)}}, "train has no source for task 'c', only for 'a', 'b'"),
    ({"valid": {"a": source(5, 0)}}, "valid has no source for task 'b', only for 'a'"),
    ({"train": mixture(sources(THREE), sizes=2), "batch_size": 8}, "batch_size is 8, but the mixture has sizes"),
    ({"train": mixture(sources(THREE), rates={"a": 1})}, r"source 'b' has a rate of 0, so its tasks \(b\)"),
    ({"inputs": {"a": "x"}}, "task 'b' is not in inputs, which has 'a'"),
    ({"transform": lambda batch, key: batch["a"]}, "transform returned no dictionary of batches, expected {source:"),
    ({"transform": lambda batch, key: {"a": batch["a"]}}, r"transform changed .*'b/x' from \(3, 4\) to nothing"),
  ],
)
def test_mistakes_are_one_line(options, message):
  net, tasks = problem(THREE)
  options = {"train": sources(THREE), "steps": 1, "progress": False, "batch_size": 8} | options
  with pytest.raises(mtl.UserError, match=message) as caught:
    mtl.fit(net, tasks, mtl.balance.equal(), TX, options.pop("train"), **options)
  assert "\n" not in str(caught.value)


def test_predictions_are_of_one_data_set():
  net, tasks = problem(THREE)
  params, state = net.init(jax.random.key(0), np.ones((1, 4), np.float32))
  with pytest.raises(mtl.UserError, match=r"to predict from are a Mixture, expected a dictionary of arrays"):
    mtl.train.predict_all(net, tasks, params, state, mixture(sources(THREE)))
  with pytest.raises(mtl.UserError, match="the data has no input 'x', only 'a', 'b', 'c'"):
    mtl.train.predict_all(net, tasks, params, state, sources(THREE))
