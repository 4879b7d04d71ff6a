"""Masks of each task on the stages of one trunk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.arch.mtan import _placed
from tests.arch._small import heads, predicted, same, started, trunk

IMAGES = jax.random.normal(jax.random.key(2), (2, 7, 7, 1))


@pytest.mark.slow
def test_with_open_masks_it_is_hard_sharing():
  """On maps whose resolution falls from 7 to 4 to 2, then vectors."""
  cnn = mtl.from_linen(mtl.nn.CNN((4, 6), features=8))
  net = mtl.arch.mtan(cnn, heads("ab"))
  params, state = started(net, IMAGES)
  closed = predicted(net, params, state, IMAGES)
  for own in params["task"].values():
    for stage in own["attention"].values():
      stage["0"]["out"]["bias"] += 50
  whole = {name: leaf for stage in params["shared"].values() for name, leaf in stage.items()}
  plain = {"shared": whole, "task": {name: own["head"] for name, own in params["task"].items()}}
  plain_state = {"shared": {}, "task": state["task"]}
  expected = predicted(mtl.arch.hard_sharing(cnn, heads("ab")), plain, plain_state, IMAGES)
  same(predicted(net, params, state, IMAGES), expected)
  assert jnp.abs(closed["a"] - expected["a"]).max() > 1e-3


def test_attention_reads_what_the_task_saw_before():
  net = mtl.arch.mtan(trunk(), heads("ab"))
  params, state = started(net)
  gradient = jax.grad(lambda p: jnp.sum(predicted(net, p, state)["a"]))(params)["task"]
  assert np.any(gradient["a"]["attention"]["stage_0"]["0"]["in"]["kernel"])
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["b"]))


def test_features_are_brought_to_other_positions():
  like = jnp.zeros
  seen = jnp.arange(12.0).reshape(1, 2, 2, 3)
  assert _placed(seen, like((1, 2, 2, 5)))[0] is seen
  smaller, larger = _placed(seen, like((1, 1, 1, 5)))[0], _placed(jnp.ones((1, 2, 2, 3)), like((1, 5, 3, 4)))[0]
  np.testing.assert_allclose(smaller[0, 0, 0], [4.5, 5.5, 6.5], rtol=1e-6)
  np.testing.assert_allclose(larger, np.ones((1, 5, 3, 3)), rtol=1e-6)
  np.testing.assert_allclose(_placed(seen, like((1, 4)))[0], [[4.5, 5.5, 6.5]])
  words = {"x": jnp.array([[[2.0], [4.0], [99.0]]]), "mask": jnp.array([[True, True, False]])}
  np.testing.assert_allclose(_placed(words, like((1, 4)))[0], [[3]])
  np.testing.assert_allclose(_placed(words, like((1, 2, 2, 4)))[0], np.full((1, 2, 2, 1), 3))
  assert _placed(None, like((1, 4))) == []


def test_a_trunk_without_stages():
  with pytest.raises(mtl.UserError, match="mtan: works between the stages of a trunk, found one without stages"):
    mtl.arch.mtan(mtl.Net(trunk().init, trunk().apply), heads())
