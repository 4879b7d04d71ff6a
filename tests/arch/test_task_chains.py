"""Tasks as steps that follow each other: aitm, esmm."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl

X = np.random.default_rng(0).normal(size=(4, 3))
HEAD, STEPS = mtl.from_linen(nn.Dense(1)), ("see", "click", "buy")
SAME = mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (x, state))


def filled(net, x):
  """Random parameters, and the state at first."""
  rng = np.random.default_rng(1)
  params, state = jax.eval_shape(net.init, jax.random.key(0), x)
  params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), params)
  return params, jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5, leaf.dtype), state)


def column(i):
  return mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (x[:, i], state))


def test_esmm_is_the_logit_of_the_product_in_float64():
  values = [-100.0, -30.0, -2.0, 0.0, 1.0, 30.0, 100.0]
  x = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(-1, 3)
  net = mtl.arch.esmm(SAME, {name: column(i) for i, name in enumerate(STEPS)})
  empty = {"shared": {"trunk": {}, "heads": {"see": {}, "click": {}}}, "task": dict.fromkeys(STEPS, {})}

  def predicted(x):
    return jnp.stack([*net.apply(empty, empty, x)[0].values()], axis=1)

  found, slope = jax.jit(lambda x: (predicted(x), jax.grad(lambda x: predicted(x).sum())(x)))(jnp.float32(x))
  log_p = np.cumsum(-np.log1p(np.exp(-x)), axis=1)
  np.testing.assert_allclose(found, -np.log(np.expm1(-log_p)), rtol=1e-5, atol=1e-6)
  some = np.abs(x).max(axis=1) <= 2  # where the product itself can be had
  p = np.cumprod(1 / (1 + np.exp(-x[some])), axis=1)
  np.testing.assert_allclose(found[some], np.log(p / (1 - p)), rtol=1e-5, atol=1e-6)
  assert np.all(np.isfinite(slope)) and np.all(slope >= 0)


def test_esmm_shares_the_heads_that_later_losses_reach():
  net = mtl.arch.esmm(SAME, dict.fromkeys(STEPS, HEAD))
  params, state = filled(net, jnp.float32(X))
  assert list(params["shared"]["heads"]) == ["click", "see"] and params["task"]["click"] == {}
  whole, _ = net.apply(params, state, jnp.float32(X))
  some, _ = net.only(["buy"]).apply(params, state, jnp.float32(X))
  np.testing.assert_array_equal(some["buy"], whole["buy"])
  assert whole["buy"].shape == (4, 1)


def test_aitm_by_hand():
  tower = mtl.from_linen(nn.Dense(2))
  net, x = mtl.arch.aitm(tower, dict.fromkeys(STEPS, HEAD)), jnp.float32(X)
  params, state = filled(net, x)
  found, after = net.apply(params, state, x, train=True)
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  shared, last = p["shared"], p["task"]["buy"]
  towers = [jax.tree.map(lambda leaf, i=i: leaf[i], shared["towers"]) for i in range(2)] + [last["tower"]]
  transfers = [jax.tree.map(lambda leaf: leaf[0], shared["transfer"]), last["transfer"]]
  heads = [p["task"]["see"], p["task"]["click"], last["head"]]

  q = [X @ tower["kernel"] + tower["bias"] for tower in towers]
  z, weights = [q[0]], []
  for own, mine in zip(transfers, q[1:], strict=True):
    told = np.maximum(z[-1] @ own["info"]["kernel"] + own["info"]["bias"], 0)
    match = [((u @ own["key"]) * (u @ own["query"])).sum(axis=1) / np.sqrt(2) for u in (told, mine)]
    w = 1 / (1 + np.exp(match[1] - match[0]))
    weights.append(w.mean())
    z.append((w[:, None] * told + (1 - w)[:, None] * mine) @ own["value"])
  logits = [each @ head["kernel"] + head["bias"] for each, head in zip(z, heads, strict=True)]
  for name, expected in zip(STEPS, logits, strict=True):
    np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)

  reported = net.report(params, after)
  np.testing.assert_allclose([reported["transfer/click"], reported["transfer/buy"]], weights, rtol=1e-4)
  p = [1 / (1 + np.exp(-logit[:, 0])) for logit in logits]
  term, before = net.terms["calibration"], (np.maximum(b - a, 0) for a, b in (p[:2], p[1:]))
  np.testing.assert_allclose(term.value(dict(reversed(found.items())), {}), sum(before), rtol=1e-4, atol=1e-5)
  assert term.strength == 0.6


def test_aitm_with_fewer_tasks_and_a_shared_stage():
  trunk, x = mtl.from_linen(mtl.nn.MLP((4, 2))), jnp.float32(X)
  for count, shared in ((1, ["stem"]), (2, ["stem", "towers"]), (3, ["stem", "towers", "transfer"])):
    net = mtl.arch.aitm(trunk, dict.fromkeys(STEPS[:count], HEAD), shared_stages=1)
    params, state = jax.eval_shape(net.init, jax.random.key(0), x)
    assert list(params["shared"]) == shared
    assert sorted(jax.eval_shape(net.report, params, state), reverse=True) == [
      f"transfer/{name}" for name in ("click", "buy")[: count - 1]
    ]
    assert list(net.terms) == ["calibration"][: count - 1]
  assert not net.only(["see", "buy"]).terms and "transfer/buy" in jax.eval_shape(
    net.only(["buy"]).report, params, state
  )
  assert not mtl.arch.aitm(trunk, dict.fromkeys(STEPS, HEAD), calibration=0).terms


def test_towers_may_give_sequences():
  class Tower(nn.Module):
    @nn.compact
    def __call__(self, x):
      return {**x, "x": nn.Dense(4)(x["x"])}

  tower, mask = mtl.from_linen(Tower()), jnp.arange(3)[None] < jnp.array([[1], [3]])
  net = mtl.arch.aitm(tower, dict.fromkeys(STEPS, SAME), calibration=0)
  x = {"x": jnp.float32(np.random.default_rng(2).normal(size=(2, 3, 2))), "mask": mask}
  found, _ = net.apply(*filled(net, x), x)
  for y in found.values():
    assert y["x"].shape == (2, 3, 4)
    np.testing.assert_array_equal(y["mask"], mask)


def test_errors():
  two, x = {"see": HEAD, "buy": mtl.from_linen(nn.Dense(3))}, jnp.float32(X)
  with pytest.raises(mtl.UserError, match=r"esmm: head 'buy' gives \[4, 3\], expected one logit per example"):
    jax.eval_shape(mtl.arch.esmm(SAME, two).apply, *filled(mtl.arch.esmm(SAME, two), x), x)
  with pytest.raises(mtl.UserError, match=r"esmm: head 'buy' gives \[4, 3\], expected one logit per example"):
    other = mtl.arch.esmm(SAME, dict(reversed(two.items())))
    jax.eval_shape(other.apply, *filled(other, x), x)
  with pytest.raises(mtl.UserError, match="aitm: calibration is -1, expected at least 0"):
    mtl.arch.aitm(SAME, two, calibration=-1)
  with pytest.raises(mtl.UserError, match=r"aitm: head 'buy' gives \[4, 3\], expected one logit.*calibration=0 leaves"):
    mtl.arch.aitm(SAME, two).terms["calibration"].value({"see": jnp.ones(4), "buy": jnp.ones((4, 3))}, {})
  with pytest.raises(mtl.UserError, match=r"aitm: works on features, .*gives an array of shape \(4,\)"):
    flat = mtl.arch.chain(HEAD, column(0))
    jax.eval_shape(mtl.arch.aitm(flat, dict.fromkeys(STEPS, HEAD)).init, jax.random.key(0), x)
