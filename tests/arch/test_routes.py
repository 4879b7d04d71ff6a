"""Tasks that go through one trunk by ways of their own: learned (`adashare`) or fixed (`task_routing`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.arch.task_routing import _masks
from tests.arch._small import X, heads, predicted, same, started, trunk


def of_trunk(params):
  """The parameters of stages as those of the whole."""
  return {name: own for stage in params["shared"].values() for name, own in stage.items()}


def test_tasks_that_use_all_stages_share_hard():
  net, hard = mtl.arch.adashare(trunk(8, 8, 8), heads()), mtl.arch.hard_sharing(trunk(8, 8, 8), heads())
  params, state = started(net)
  plain = {"shared": of_trunk(params), "task": {name: own["head"] for name, own in params["task"].items()}}
  expected = predicted(hard, plain, {"shared": {}, "task": state["task"]})
  same(predicted(net, params, state), expected)
  # b leaves out the last stage
  params["task"]["b"]["policy"] = jnp.array([0.1, -0.1])
  found, shorter = predicted(net, params, state), mtl.arch.hard_sharing(trunk(8, 8), heads())
  skipped = predicted(shorter, plain, {"shared": {}, "task": state["task"]})
  same(found, {"a": expected["a"], "b": skipped["b"], "c": expected["c"]})
  soft = predicted(net, params, state, train=True, step=jnp.int32(0), key=jax.random.key(0))
  assert jnp.abs(soft["a"] - expected["a"]).max() > 1e-3


def test_terms_of_policies():
  net = mtl.arch.adashare(trunk(8, 8, 8), heads("ab"), sparsity=0.1)
  params, state = started(net)
  a, b = np.array([0.5, 0.9]), np.array([0.75, 0.2])
  for name, use in (("a", a), ("b", b)):
    params["task"][name]["policy"] = jnp.asarray(np.log(use / (1 - use)), jnp.float32)
  np.testing.assert_allclose(net.report(params, state)["use/b"], b, rtol=1e-5)
  np.testing.assert_allclose(net.terms["sparsity"].value(params, {}), np.log([*a, *b]).sum(), rtol=1e-5)
  np.testing.assert_allclose(net.terms["sharing"].value(params, {}), 1 * 0.25 + 0.5 * 0.7, rtol=1e-5)
  assert net.terms["sparsity"].strength == 0.1
  some = net.only(["a"])
  assert sorted(predicted(some, params, state)) == ["a"] and some.terms["sharing"].value(params, {}) > 0


def test_policies_are_learned():
  net = mtl.arch.adashare(trunk(8, 8), heads("ab"))
  params, state = started(net)

  def total(params):
    return jnp.sum(net.apply(params, state, X, key=jax.random.key(1), train=True, step=jnp.int32(0))[0]["a"])

  gradient = jax.jit(jax.grad(total))(params)["task"]
  assert np.any(gradient["a"]["policy"]) and not np.any(gradient["b"]["policy"])


def test_mistakes():
  with pytest.raises(mtl.UserError, match="adashare: no stage of the trunk gives the shape that it gets"):
    jax.eval_shape(mtl.arch.adashare(trunk(8, 5), heads()).init, jax.random.key(0), X)
  with pytest.raises(mtl.UserError, match="adashare: temperature is -1.0, expected above 0"):
    mtl.arch.adashare(trunk(), heads(), temperature=-1.0)
  for keep in (0.0, 1.5):
    with pytest.raises(mtl.UserError, match=f"task_routing: keep is {keep}, expected a number above 0 and at most 1"):
      mtl.arch.task_routing(trunk(), heads(), keep=keep)
  for make in (mtl.arch.adashare, mtl.arch.task_routing):
    with pytest.raises(mtl.UserError, match=f"{make.__name__}: works between the stages of a trunk, found one without"):
      make(mtl.Net(trunk().init, trunk().apply), heads())


def test_routes_that_keep_all_channels_share_hard():
  net, hard = mtl.arch.task_routing(trunk(), heads(), keep=1.0), mtl.arch.hard_sharing(trunk(), heads())
  params, state = started(net)
  plain = {"shared": of_trunk(params), "task": params["task"]}
  same(predicted(net, params, state), predicted(hard, plain, {"shared": {}, "task": state["task"]}))


def test_routes_are_fixed_by_the_seed():
  net = mtl.arch.task_routing(trunk(), heads(), keep=0.4)
  params, state = started(net)
  features, _ = net.cut.trunk(params["shared"], state["shared"], X)
  again, _ = mtl.arch.task_routing(trunk(), heads(), keep=0.4).cut.trunk(params["shared"], state["shared"], X)
  other, _ = mtl.arch.task_routing(trunk(), heads(), keep=0.4, seed=1).cut.trunk(params["shared"], state["shared"], X)
  used = features != 0
  np.testing.assert_array_equal(used, np.broadcast_to(_masks(3, 6, 0.4, (0, 1, 0)) > 0, used.shape))
  np.testing.assert_array_equal(used.sum(axis=-1), 2)  # 0.4 of 6 channels
  np.testing.assert_array_equal(features, again)
  assert np.any(used != (other != 0))
  assert _masks(5, 4, 0.01, (0,)).sum(axis=1).tolist() == [1] * 5  # nobody is left without
