"""Which tasks attend to which."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.arch._small import NAMES, X, heads, predicted, same, started, trunk

BAND = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], bool)
REACH = {"global": {"attention": np.ones((3, 3), bool)}, "local": {"attention": BAND}} | {
  "bidirectional": {"attention/before": np.tri(3, dtype=bool), "attention/after": np.tri(3, dtype=bool).T}
}


@pytest.mark.parametrize("mode", REACH)
def test_tasks_attend_to_those_that_the_mode_says(mode):
  net = mtl.arch.task_attention(trunk(6), heads(), mode=mode)
  params, state = started(net)

  @jax.jit
  def run(params):
    _, after = net.apply(params, state, X, train=True)
    by_tower = jax.jacobian(lambda p: jnp.stack([jnp.sum(y) for y in predicted(net, p, state).values()]))(params)
    kernel = by_tower["shared"]["towers"]["Dense_0"]["kernel"]  # (tasks, towers, in, out)
    return net.report(params, after), jnp.abs(kernel).sum(axis=(2, 3))

  maps, moved = run(params)
  assert sorted(maps) == sorted(REACH[mode])
  for name, reach in REACH[mode].items():
    np.testing.assert_array_equal(maps[name] > 0, reach)
    np.testing.assert_allclose(maps[name].sum(axis=1), 1, rtol=1e-5)
  np.testing.assert_array_equal(moved > 0, sum(REACH[mode].values()) > 0)
  before = net.report(params, net.apply(params, state, X)[1])
  assert all(np.abs(before[name] - maps[name]).max() > 1e-4 for name in maps)  # only training changes it


def test_without_values_it_is_towers():
  net, towers = mtl.arch.task_attention(trunk(6), heads()), mtl.arch.soft_sharing(trunk(6), heads())
  params, state = started(net)
  value = params["shared"]["attention"]["all"]["0"]["value"]
  value["kernel"] *= 0
  plain = {"shared": params["shared"]["towers"], "task": params["task"]}
  expected = predicted(towers, plain, {"shared": {}, "task": state["task"]})
  same(predicted(net, params, state), expected)


def test_first_stages_are_shared_and_maps_keep_their_positions():
  net = mtl.arch.task_attention(mtl.from_linen(mtl.nn.CNN((4, 4), features=None)), heads(), shared_stages=1)
  images = jnp.ones((2, 8, 8, 1))
  params, state = jax.eval_shape(net.init, jax.random.key(0), images)
  assert params["shared"]["stem"]["stage_0"]["Conv_0"]["kernel"].shape == (3, 3, 1, 4)
  assert params["shared"]["towers"]["stage_0"]["Conv_1"]["kernel"].shape == (3, 3, 3, 4, 4)
  assert sorted(net.only(NAMES[:1]).report(params, state)) == ["attention"]


def test_mistakes():
  attention = inspect.unwrap(mtl.arch.task_attention)
  with pytest.raises(mtl.UserError, match=r"task_attention: unknown mode 'globl' \(did you mean 'global'\?\)"):
    attention(trunk(), heads(), mode="globl")
  with pytest.raises(mtl.UserError, match="task_attention: neighbours is 0, expected at least 1"):
    attention(trunk(), heads(), neighbours=0)
  with pytest.raises(mtl.UserError, match="task_attention: shared_stages is 2, but the trunk has 2 stages"):
    attention(trunk(), heads(), shared_stages=2)
