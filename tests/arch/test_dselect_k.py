"""DSelect-k: selectors are distributions over the experts that exist, whose entropy is trained down."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.arch.dselect_k import selectors, smooth_step

X = jax.random.normal(jax.random.key(0), (5, 4))
HEADS = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}


def made(**options):
  net = mtl.arch.dselect_k(mtl.from_linen(mtl.nn.MLP((6,))), HEADS, **options)
  return net, *jax.jit(net.init)(jax.random.key(1), X)


def test_smooth_step():
  t = jnp.array([-3.0, -0.5, -0.25, 0.0, 0.25, 0.5, 3.0])
  np.testing.assert_array_equal(smooth_step(t, 1.0), [0, 0, 0.15625, 0.5, 0.84375, 1, 1])
  np.testing.assert_array_equal(smooth_step(2 * t, 2.0), smooth_step(t, 1.0))
  slope = jax.vmap(jax.grad(lambda t: smooth_step(t, 2.0)))(t)
  np.testing.assert_allclose(slope, [0, 0.5625, 0.703125, 0.75, 0.703125, 0.5625, 0], atol=1e-6)


@pytest.mark.parametrize("experts", [1, 2, 3, 5, 6, 8])
def test_selectors_reach_every_expert_and_no_other(experts):
  bits = max(1, (experts - 1).bit_length())
  on = jax.random.uniform(jax.random.key(0), (7, 2, bits))
  found = selectors(on, experts)
  assert found.shape == (7, 2, experts)
  np.testing.assert_allclose(found.sum(axis=-1), np.ones((7, 2)), rtol=1e-6)
  number = np.arange(2**bits)
  codes = (number[:, None] >> np.arange(bits - 1, -1, -1)) & 1
  chosen = np.argmax(selectors(jnp.asarray(codes, jnp.float32)[:, None], experts)[:, 0], axis=-1)
  expected = np.where(number < experts, number, number - 2 ** (bits - 1))
  np.testing.assert_array_equal(chosen, expected)


def test_selectors_of_four_experts_by_hand():
  found = selectors(jnp.array([[[0.9, 0.2]]]), 4)
  np.testing.assert_allclose(found, [[[0.08, 0.02, 0.72, 0.18]]], rtol=1e-5)


@pytest.mark.parametrize("per_example", [True, False])
def test_with_one_selector_settled_on_each_expert_it_is_a_dense_mixture(per_example):
  """k = E and selector i has chosen expert i: the weights are the softmax of the selectors' logits, as in MMoE."""
  net, params, state = made(experts=3, k=3, per_example=per_example)
  dense = mtl.arch.mmoe(mtl.from_linen(mtl.nn.MLP((6,))), HEADS, experts=3)
  copied = {"shared": params["shared"], "task": {}}
  for name, own in params["task"].items():
    own["gate"]["choice"] = jax.tree.map(jnp.zeros_like, own["gate"]["choice"])
    own["gate"]["choice"]["bias"] = jnp.array([-1.0, -1.0, -1.0, 1.0, 1.0, -1.0])  # 00, 01, 10
    mix = {"kernel": jnp.zeros((4, 3)), **own["gate"]["mix"]}
    copied["task"][name] = {"gate": mix, "head": own["head"]}
  found, expected = jax.jit(net.apply)(params, state, X)[0], jax.jit(dense.apply)(copied, state, X)[0]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


def test_entropy_is_that_of_every_selector_of_every_task():
  net, params, _ = made(experts=4, k=2, entropy=0.5)
  features = {"input": X, "experts": jnp.zeros((5, 4, 6))}
  term = net.terms["gate_entropy"]
  assert (term.of, term.strength) == ("gates", 0.5)

  def by_hand(gate):
    t = np.asarray(X @ gate["choice"]["kernel"]) + np.asarray(gate["choice"]["bias"])
    s = 0.5 + t * (1.5 - 2 * t**2)
    r = np.stack([selectors(jnp.asarray(s.reshape(5, 2, 2)), 4)])[0]
    return -(r * np.log(r)).sum(axis=(1, 2)).mean()

  expected = sum(by_hand(own["gate"]) for own in params["task"].values())
  judged = jax.jit(jax.value_and_grad(lambda p: term.value((p, features), {})))
  assert float(judged(params)[0]) == pytest.approx(expected, rel=1e-4)
  settled = jax.tree.map(lambda leaf: leaf, params)
  for own in settled["task"].values():
    own["gate"]["choice"]["bias"] = jnp.full(4, 2.0)
  value, gradient = judged(settled)
  assert abs(float(value)) < 1e-4
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
  assert mtl.arch.dselect_k(mtl.from_linen(mtl.nn.MLP((6,))), HEADS, entropy=0.0).terms == {}


def test_training_chooses():
  """With the entropy alone to be made small, each task's gate comes to one expert per selector."""
  net, params, _ = made(experts=4, k=2, per_example=False)
  features, value = {"input": X, "experts": jnp.zeros((5, 4, 6))}, net.terms["gate_entropy"].value

  @jax.jit
  def descend(params):
    def step(_, p):
      return jax.tree.map(lambda a, g: a - 0.05 * g, p, jax.grad(lambda p: value((p, features), {}))(p))

    after = jax.lax.fori_loop(0, 400, step, params)
    return value((params, features), {}), value((after, features), {})

  before, after = descend(params)
  assert before > 5.0 and abs(after) < 1e-2  # from nearly log 4 for each of 4 selectors


@pytest.mark.parametrize("k", [0, 5])
def test_numbers_that_cannot_be_chosen(k):
  message = f"k is {k}, but there are 4 experts: expected a number from 1 to 4"
  with pytest.raises(mtl.UserError, match=f"^dselect_k: {message}"):
    made(k=k)
  with pytest.raises(mtl.UserError, match=f"^moe_topk: {message}"):
    mtl.arch.moe_topk(mtl.from_linen(mtl.nn.MLP((6,))), HEADS, k=k)


def test_width_of_the_step():
  with pytest.raises(mtl.UserError, match="^dselect_k: gamma is 0, expected above 0"):
    made(gamma=0)
