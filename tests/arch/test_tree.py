"""Trees of stages, given or learned."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.arch._choices import chosen, cooling
from tests.arch._small import NAMES, X, heads, predicted, same, started, trunk

ALL, PAIR, APART = [list(NAMES)], [["c"], ["b", "a"]], [["a"], ["b"], ["c"]]


def dense(params, x):
  return jnp.tanh(x @ params["kernel"] + params["bias"][None])


def entry(tree, *place):
  return jax.tree.map(lambda leaf: leaf[place], tree)


def test_one_group_is_hard_sharing():
  net, hard = mtl.arch.tree(trunk(), heads(), [ALL, ALL]), mtl.arch.hard_sharing(trunk(), heads())
  params, state = started(net)
  whole = {name: entry(own, 0) for stage in params["shared"].values() for name, own in stage.items()}
  plain = {"shared": whole, "task": params["task"]}
  same(predicted(net, params, state), predicted(hard, plain, {"shared": {}, "task": state["task"]}))


def test_groups_part_and_tasks_end_at_different_depths():
  net = mtl.arch.tree(trunk(6, 5, 4), heads(), [ALL, PAIR, [["a", "b"]]], depths={"c": 2, "b": 2})
  params, state = started(net)
  shared, task = params["shared"], params["task"]
  assert shared["stage_0"]["Dense_0"]["kernel"].shape == (1, 6, 6)
  assert shared["stage_1"]["Dense_1"]["kernel"].shape == (1, 6, 5)  # c has that stage to itself
  assert sorted(shared) == ["stage_0", "stage_1"]  # b ends before the last stage, so it is a's
  first = dense(entry(shared["stage_0"]["Dense_0"], 0), X)
  pair = dense(entry(shared["stage_1"]["Dense_1"], 0), first)
  last = dense(task["a"]["tower"]["stage_0"]["Dense_2"], pair)
  own = dense(task["c"]["tower"]["stage_0"]["Dense_1"], first)
  found = predicted(net, params, state)
  for name, head, features in (("a", task["a"]["head"], last), ("b", task["b"], pair), ("c", task["c"]["head"], own)):
    np.testing.assert_allclose(found[name], features @ head["kernel"], rtol=1e-5, atol=1e-6)


def test_nodes_of_several_groups_run_as_one():
  names = ("a", "b", "c", "d")
  net = mtl.arch.tree(trunk(), heads(names), [[["a", "b"], ["c", "d"]], [["c", "d"], ["b", "a"]]])
  params, state = started(net)
  shared = params["shared"]
  assert shared["stage_1"]["Dense_1"]["kernel"].shape == (2, 6, 6)
  lower = [dense(entry(shared["stage_0"]["Dense_0"], i), X) for i in (0, 1)]
  found = predicted(net, params, state)
  for name, below, above in (("a", 0, 1), ("d", 1, 0)):
    features = dense(entry(shared["stage_1"]["Dense_1"], above), lower[below])
    np.testing.assert_allclose(found[name], features @ params["task"][name]["kernel"], rtol=1e-5, atol=1e-6)


def test_tasks_that_share_nothing_train():
  net = mtl.arch.tree(trunk(), heads("ab"), [[["a"], ["b"]]] * 2)
  tasks = {name: mtl.tasks.regression(name) for name in "ab"}
  batch, tx = {"x": X, "a": X[:, 0], "b": X[:, 1]}, optax.sgd(0.1)
  state = mtl.init_train_state(net, tasks, "equal", tx, batch, jax.random.key(0))
  after, metrics = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), "equal", tx))(state, batch)
  assert not jax.tree.leaves(after.params["shared"]) and not metrics["skipped"]
  assert np.any(after.params["task"]["a"]["head"]["kernel"] != state.params["task"]["a"]["head"]["kernel"])


def test_equal_tasks_have_equal_heads_that_can_run_as_one():
  heads = mtl.arch.tree(trunk(), {name: mtl.from_linen(nn.Dense(1)) for name in NAMES}).cut.heads
  assert heads["a"] == heads["b"] == heads["c"]


def test_mistakes_in_groups():
  tree = inspect.unwrap(mtl.arch.tree)
  for match, groups in {
    "tree: groups are for 1 stages, expected 2": [ALL],
    "tree: task 'c' is in 0 groups of stage 1, expected 1": [ALL, [["a", "b"]]],
    "tree: task 'a' is in 2 groups of stage 0": [[["a", "b"], ["a", "c"]], APART],
    "tree: stage 0 of groups has 'd', which is no task": [[["a", "b", "c", "d"]], APART],
    "tree: tasks 'b' and 'a' are apart at stage 0 and together at stage 1: groups may only part": [APART, PAIR],
  }.items():
    with pytest.raises(mtl.UserError, match=match):
      tree(trunk(), heads(), groups)
  with pytest.raises(mtl.UserError, match="tree: depths has 'd', which is no task"):
    tree(trunk(), heads(), depths={"d": 1})
  with pytest.raises(mtl.UserError, match="tree: the depth of task 'a' is 3, expected 1 to 2"):
    tree(trunk(), heads(), depths={"a": 3})
  with pytest.raises(mtl.UserError, match="tree: works between the stages of a trunk, found one without"):
    tree(mtl.Net(trunk().init, trunk().apply), heads())


def learned():
  """A net that learned the tree of `PAIR`: a and b read node 2, which reads node 0; c reads node 0, which reads 1."""
  net = mtl.arch.ltb(trunk(), heads())
  params, state = started(net)
  params["shared"]["branch"]["stage_1"] = jnp.array([[0, 2.0, 0], [9, 9, 9], [5, 1, 3]])
  for name, node in (("a", 2), ("b", 2), ("c", 0)):
    params["task"][name]["branch"] = 0.3 * jax.nn.one_hot(node, 3)
  return net, params, state


def test_a_learned_tree_is_that_tree():
  net, params, state = learned()
  groups = mtl.arch.ltb_groups(jax.jit(lambda p: p)(params))
  assert groups == [[["a", "b"], ["c"]], [["a", "b"], ["c"]]]
  made = mtl.arch.tree(trunk(), heads(), groups)
  nodes, task = params["shared"]["nodes"], params["task"]
  shared = {"stage_0": entry(nodes["stage_0"], slice(0, 1)), "stage_1": entry(nodes["stage_1"], slice(2, 3))}
  tower = {"stage_0": entry(nodes["stage_0"], 1), "stage_1": entry(nodes["stage_1"], 0)}
  own = {"c": {"tower": tower, "head": task["c"]["head"]}} | {name: task[name]["head"] for name in "ab"}
  copied = {"shared": shared, "task": own}
  fresh, fresh_state = made.init(jax.random.key(1), X)
  assert jax.tree.structure(fresh) == jax.tree.structure(copied)
  same(predicted(made, copied, fresh_state), predicted(net, params, state))


def test_branches_are_drawn_in_training_and_learned():
  net, params, state = learned()

  @jax.jit
  def run(key, step):
    def total(params):
      y, _ = net.apply(params, state, X, key=key, train=True, step=step)
      return sum(jnp.sum(one) for one in y.values())

    return jax.value_and_grad(total)(params)

  (first, gradient), (other, _) = run(jax.random.key(0), jnp.int32(0)), run(jax.random.key(1), jnp.int32(0))
  assert first != other
  assert np.any(gradient["shared"]["branch"]["stage_1"]) and np.any(gradient["task"]["a"]["branch"])
  tested = predicted(net, params, state, key=jax.random.key(3), train=True)
  same(tested, predicted(net, params, state, step=jnp.int32(0)))


def test_choices_get_harder_with_the_step():
  logits = jnp.array([0.0, 1.0, 0.5])
  found = jax.vmap(cooling)(jnp.array([0, 5000, 10_000, 20_000]))
  np.testing.assert_allclose(found, [5, 2.5**0.5, 0.5, 0.5], rtol=1e-5)
  warm, cold = (chosen(logits, cooling, None, True, jnp.int32(n)) for n in (0, 10_000))
  np.testing.assert_allclose(cold, jax.nn.softmax(logits * 2), rtol=1e-5)
  assert warm.max() < 0.4 < 0.6 < cold.max()
  scheduled = chosen(logits, optax.linear_schedule(1.0, 0.01, 10), None, True, jnp.int32(10))
  np.testing.assert_allclose(scheduled, [0, 1, 0], atol=1e-6)
  np.testing.assert_array_equal(chosen(logits, 1.0, jax.random.key(0), True, None), [0, 1, 0])
  np.testing.assert_array_equal(chosen(logits, 1.0, jax.random.key(0), False, jnp.int32(0)), [0, 1, 0])
  # The largest of Gumbel-perturbed logits is drawn by their softmax.
  draws = jax.vmap(lambda key: chosen(logits, 1e-3, key, True, 0))(jax.random.split(jax.random.key(0), 4000))
  np.testing.assert_allclose(draws.mean(axis=0), jax.nn.softmax(logits), atol=0.03)  # four standard errors


@pytest.mark.slow
def test_reports_and_mistakes_of_learned_trees():
  net, params, state = learned()
  found = net.report(params, state)
  assert sorted(found) == ["branch/a", "branch/b", "branch/c", "branch/stage_1"]
  np.testing.assert_allclose(found["branch/stage_1"].sum(axis=1), 1, rtol=1e-6)
  assert sorted(net.only(["a"]).report(*started(net.only(["a"])))) == ["branch/a", "branch/stage_1"]
  with pytest.raises(mtl.UserError, match="ltb: nodes is 0, expected at least 1"):
    mtl.arch.ltb(trunk(), heads(), nodes=0)
  with pytest.raises(mtl.UserError, match="ltb: temperature is 0.0, expected above 0, or a function of the step"):
    mtl.arch.ltb(trunk(), heads(), temperature=0.0)
