"""Sparse gates: k experts for each example, noise from the key alone, and losses and biases that keep experts busy."""

import functools
import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.arch import balancing

X = jax.random.normal(jax.random.key(0), (12, 4))
HEADS = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}


def made(**options):
  net = inspect.unwrap(mtl.arch.moe_topk)(mtl.from_linen(mtl.nn.MLP((6,))), HEADS, **options)  # past the type checker
  return net, *jax.jit(net.init)(jax.random.key(1), X)


def logits_of(own):
  return np.asarray(X @ own["gate"]["logits"]["kernel"]) + np.asarray(own["gate"]["logits"]["bias"])


@pytest.mark.parametrize("k", [1, 3, 4])
def test_weights_are_those_of_the_largest_logits(k):
  net, params, state = made(k=k)
  found, after = jax.jit(functools.partial(net.apply, train=True))(params, state, X)
  layer = params["shared"]["experts"]["Dense_0"]
  experts = np.maximum(np.einsum("bd,edh->beh", X, layer["kernel"]) + np.asarray(layer["bias"]), 0)
  for name, own in params["task"].items():
    probabilities = np.asarray(jax.nn.softmax(jnp.asarray(logits_of(own))))
    least = np.sort(probabilities, axis=1)[:, -k, None]
    weights = np.where(probabilities >= least, probabilities, 0)
    weights = weights if k == 1 else weights / weights.sum(axis=1, keepdims=True)
    expected = np.einsum("be,beh->bh", weights, experts) @ np.asarray(own["head"]["kernel"])
    np.testing.assert_allclose(found[name], expected + np.asarray(own["head"]["bias"]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.report(params, after)[f"load/{name}"], weights.mean(axis=0), atol=1e-6)


def test_one_expert_alone_has_a_gradient_of_its_gate():
  net, params, state = made(k=1, balance=None)
  gradient = jax.jit(jax.grad(lambda p: jnp.sum(net.apply(p, state, X)[0]["a"])))(params)["task"]["a"]["gate"]["logits"]
  assert np.any(gradient["kernel"])


def terms_of(net, params, state, key):
  """The terms and the features that they read."""

  @jax.jit
  def run(params, state):
    features, _ = net.cut.trunk(params["shared"], state["shared"], X, key=key, train=True)
    return {name: term.value((params, features), {}) for name, term in net.terms.items()}, features

  return jax.device_get(run(params, state))


def test_noise_is_that_of_the_key_and_of_training_alone():
  net, params, state = made(noise=True, balance="shazeer")
  plain, _, plain_state = made()
  without = {"shared": params["shared"], "task": {}}
  for name, own in params["task"].items():
    without["task"][name] = {**own, "gate": {"logits": own["gate"]["logits"]}}
  expected = jax.jit(plain.apply)(without, plain_state, X)[0]
  run = jax.jit(lambda key, train: net.apply(params, state, X, key=key, train=train)[0]["a"], static_argnums=1)
  one, other = jax.random.split(jax.random.key(2))
  np.testing.assert_allclose(run(one, False), expected["a"], rtol=1e-5)
  np.testing.assert_array_equal(run(one, True), run(one, True))
  assert np.any(run(one, True) != run(other, True)) and np.any(run(one, True) != expected["a"])


def test_shazeer_loss_sees_the_noise_by_which_experts_were_chosen():
  net, params, state = made(noise=True, balance="shazeer", k=2, z_strength=1e-3)
  found, features = terms_of(net, params, state, jax.random.key(3))
  assert np.any(features["noise"])
  total, z = 0.0, 0.0
  for own in params["task"].values():
    clean = jnp.asarray(logits_of(own))
    deviation = jnp.full_like(clean, 0.703147)  # at first the noise has a parameter of 0
    noisy = clean + deviation * features["noise"]
    least = jnp.broadcast_to(jnp.sort(noisy, axis=1)[:, -2, None], noisy.shape)
    weights = jax.nn.softmax(jnp.where(noisy >= least, noisy, -jnp.inf))
    total += float(balancing.importance(weights) + balancing.load(clean, noisy, deviation, 2))
    z += float(balancing.z(clean))
  assert found["load_balance"] == pytest.approx(total, rel=1e-4)
  assert found["gate_z"] == pytest.approx(z, rel=1e-4)


@pytest.mark.slow
def test_switch_loss_is_summed_over_tasks():
  net, params, state = made(k=1, strength=0.5)
  found, _ = terms_of(net, params, state, None)
  expected = 0.0
  for own in params["task"].values():
    p = jax.nn.softmax(jnp.asarray(logits_of(own)))
    expected += float(balancing.switch(p, jax.nn.one_hot(jnp.argmax(p, axis=1), 4)))
  assert found == {"load_balance": pytest.approx(expected, rel=1e-5)}
  assert net.terms["load_balance"].strength == 0.5
  assert made(strength=0.0)[0].terms == made(balance=None)[0].terms == {}


def test_bias_chooses_and_does_not_weigh():
  net, params, before = made(k=2, balance="loss_free", bias_rate=0.1)
  assert net.terms == {}
  own = params["task"]["a"]["gate"]["logits"]
  own["kernel"], own["bias"] = jnp.zeros((4, 4)), jnp.array([3.0, 2.0, 1.0, 0.0])

  @functools.partial(jax.jit, static_argnums=1)
  def run(state, train):
    _, after = net.apply(params, state, X, train=train)
    return after, net.report(params, after)

  state, report = run(before, True)
  np.testing.assert_allclose(report["bias/a"], [-0.1, -0.1, 0.1, 0.1], rtol=1e-6)
  state, report = run(state, True)  # chooses the first and the third
  np.testing.assert_allclose(report["bias/a"], [-0.2, 0, 0, 0.2], atol=1e-6)
  weights = np.exp([3.0, 1.0]) / np.exp([3.0, 1.0]).sum()  # those of the logits alone
  np.testing.assert_allclose(report["load/a"], [weights[0], 0, weights[1], 0], rtol=1e-5)
  kinds = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), each) for each in (before, state)]
  assert kinds[0] == kinds[1]
  tested, report = run(state, False)
  jax.tree.map(np.testing.assert_array_equal, tested, state)


def test_parts_of_a_net_keep_terms_and_reports():
  net = made(balance="loss_free", z_strength=1e-3)[0]
  part = net.only(["b"])
  own, own_state = jax.jit(part.init)(jax.random.key(1), X)
  assert sorted(part.report(own, own_state)) == ["bias/b", "load/b"]
  found, features = terms_of(part, own, own_state, None)
  assert found["gate_z"] == pytest.approx(float(balancing.z(jnp.asarray(logits_of(own["task"]["b"])))), rel=1e-5)


class Statistics(nn.Module):
  """A gate with a state."""

  @nn.compact
  def __call__(self, x, train=False):
    return nn.Dense(4)(nn.BatchNorm(use_running_average=not train)(x))


def test_mistakes():
  gate = mtl.from_linen(Statistics())
  net, params, state = made(gate=gate)
  with pytest.raises(mtl.UserError, match="^moe_topk: gate has a state, such as batch statistics, and its balancing"):
    terms_of(net, params, state, None)
  net, params, state = made(gate=gate, balance="loss_free")
  assert terms_of(net, params, state, None)[0] == {}
  with pytest.raises(mtl.UserError, match="^moe_topk: balance is 'shazeer', .*: pass noise=True"):
    made(balance="shazeer")
  with pytest.raises(mtl.UserError, match=r"^moe_topk: unknown balance 'swich' \(did you mean 'switch'\?\)"):
    made(balance="swich")
