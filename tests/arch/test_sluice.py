"""Subspaces that are mixed, heads that mix stages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.arch._small import X, heads, predicted, same, started, trunk


def test_with_one_subspace_it_is_cross_stitch():
  net, expected = mtl.arch.sluice(trunk(), heads(), subspaces=1), mtl.arch.cross_stitch(trunk(), heads())
  params, state = started(expected)
  same(predicted(net, params, state), predicted(expected, params, state))
  assert not net.terms


def test_subspaces_are_slices_of_the_channels():
  """With weights between slices of one tower alone, its slices are mixed and towers are not."""
  net, towers = mtl.arch.sluice(trunk(), heads("ab"), keep=1.0), mtl.arch.soft_sharing(trunk(), heads("ab"))
  params, state = started(net)
  swap = jnp.kron(jnp.eye(2), jnp.array([[0.0, 1.0], [1.0, 0.0]]))
  params["shared"]["stitch"]["stage_1"] = swap
  whole = {**params["shared"]["towers"]["stage_0"], **params["shared"]["towers"]["stage_1"]}
  features, _ = towers.cut.trunk(whole, {}, X)
  found, _ = net.cut.trunk(params["shared"], state["shared"], X)
  np.testing.assert_allclose(found, jnp.roll(features, 3, axis=-1), rtol=1e-5, atol=1e-6)


def test_heads_read_a_sum_over_stages():
  net = mtl.arch.sluice(trunk(), heads(), mixture=True)
  params, state = started(net)
  np.testing.assert_allclose(net.report(params, state)["layers/a"], [0.5, 0.5])
  assert net.report(params, state)["stitch/stage_0"].shape == (6, 6)
  own = {name: {**own, "layers": jnp.array([0.0, 1.0])} for name, own in params["task"].items()}
  plain = {"shared": params["shared"], "task": {name: own["head"] for name, own in params["task"].items()}}
  expected = predicted(mtl.arch.sluice(trunk(), heads()), plain, state)
  same(predicted(net, {**params, "task": own}, state), expected)
  assert jnp.abs(predicted(net, params, state)["a"] - expected["a"]).max() > 1e-3
  assert "layers/b" not in net.only(["a"]).report(*started(net.only(["a"])))


def test_the_overlap_of_subspaces_is_a_term():
  net = mtl.arch.sluice(trunk(), heads("ab"), orthogonality=0.1)
  # Of the first tower the first channel, (1, 1), and the last, (0, 2), overlap; the second tower's subspaces do not.
  kernel = jnp.array([[[1.0, 0, 0, 0], [1, 0, 0, 2]], [[1, 3, 0, 0], [0, 0, 1, 1]]])
  towers = {"stage_0": {"kernel": kernel, "bias": jnp.ones((2, 4))}}
  assert net.terms["orthogonality"].value({"shared": {"towers": towers}}, {}) == 4
  assert net.terms["orthogonality"].strength == 0.1


def test_mistakes():
  with pytest.raises(mtl.UserError, match="sluice: subspaces is 0, expected at least 1"):
    mtl.arch.sluice(trunk(), heads(), subspaces=0)
  with pytest.raises(mtl.UserError, match=r"sluice: keep is 2.0, expected a number in \[0, 1\]"):
    mtl.arch.sluice(trunk(), heads(), keep=2.0)
  with pytest.raises(mtl.UserError, match="sluice: works between the stages of a trunk, found one without"):
    mtl.arch.sluice(mtl.Net(trunk().init, trunk().apply), heads())
  with pytest.raises(mtl.UserError, match="a stage gives 6 channels, expected a multiple of subspaces=4"):
    net = mtl.arch.sluice(trunk(), heads(), subspaces=4)
    jax.eval_shape(net.init, jax.random.key(0), X)
  with pytest.raises(mtl.UserError, match=r"adds up what stages give, found \(8,\), \(6,\)"):
    net = mtl.arch.sluice(trunk(8, 6), heads(), mixture=True)
    jax.eval_shape(net.init, jax.random.key(0), X)
