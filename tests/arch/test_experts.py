"""Mixtures of experts: those of one expert are what they should be, gates are softmax gates, and mistakes are told."""

import inspect
import re

import flax.linen as nn
import jax
import numpy as np
import pytest

import mtl_jax as mtl

X = jax.random.normal(jax.random.key(0), (5, 4))
HEADS = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}


def trunk():
  return mtl.from_linen(mtl.nn.MLP((6, 3)))


def shapes(net):
  return jax.eval_shape(net.init, jax.random.key(1), X)


def start(net):
  """Parameters and state at random, biases included: no program is compiled for them."""
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes(net))


def run(net, params, state):
  """The predictions and the report after a batch of training."""

  @jax.jit
  def both(params, state):
    found, after = net.apply(params, state, X, train=True)
    return found, net.report(params, after)

  return jax.device_get(both(params, state))


def same(found, expected):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


def weights_by_hand(gate, x):
  logits = np.asarray(x) @ np.asarray(gate["kernel"]) + np.asarray(gate["bias"])
  return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def mlp_by_hand(params, x):
  x = np.asarray(x)
  for layer in params.values():
    x = np.maximum(x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]), 0)
  return x


def expert(params, number):
  return jax.tree.map(lambda leaf: leaf[number], params)


@pytest.mark.parametrize("make", [mtl.arch.mmoe, mtl.arch.omoe])
def test_one_expert_is_hard_sharing(make):
  net, plain = make(trunk(), HEADS, experts=1), mtl.arch.hard_sharing(trunk(), HEADS)
  params, state = start(net)
  heads = {name: own.get("head", own) for name, own in params["task"].items()}
  copied = {"shared": expert(params["shared"]["experts"], 0), "task": heads}
  same(run(net, params, state)[0], run(plain, copied, {"shared": {}, "task": {"a": {}, "b": {}}})[0])


def test_weights_are_the_softmax_of_each_gate():
  net = mtl.arch.mmoe(trunk(), HEADS, experts=3)
  params, state = start(net)
  found, report = run(net, params, state)
  outputs = [mlp_by_hand(expert(params["shared"]["experts"], e), X) for e in range(3)]
  for name, own in params["task"].items():
    weights = weights_by_hand(own["gate"], X)
    mixture = sum(weights[:, e, None] * outputs[e] for e in range(3))
    same(found[name], mixture @ np.asarray(own["head"]["kernel"]) + np.asarray(own["head"]["bias"]))
    same(report[f"load/{name}"], weights.mean(axis=0))
  _, state = jax.jit(net.init)(jax.random.key(1), X)
  same(net.report(params, state)["load/a"], np.full(3, 1 / 3))


def test_one_gate_for_all():
  net = mtl.arch.omoe(trunk(), HEADS, experts=3)
  params, state = start(net)
  found, report = run(net, params, state)
  weights = weights_by_hand(params["shared"]["gate"], X)
  mixture = sum(weights[:, e, None] * mlp_by_hand(expert(params["shared"]["experts"], e), X) for e in range(3))
  for name, own in params["task"].items():
    same(found[name], mixture @ np.asarray(own["kernel"]) + np.asarray(own["bias"]))
  same(report, {"load": weights.mean(axis=0)})


def mixed_by_hand(gate, gate_input, experts):
  """The mixture of `experts`, pairs of parameters and what an expert reads."""
  weights = weights_by_hand(gate, gate_input)
  return sum(weights[:, e, None] * mlp_by_hand(params, x) for e, (params, x) in enumerate(experts))


def test_experts_of_all_come_before_those_of_a_task():
  net = mtl.arch.cgc(trunk(), HEADS, shared_experts=2, task_experts=1)
  params, state = start(net)
  found, _ = run(net, params, state)
  for name, own in params["task"].items():
    experts = [(expert(params["shared"]["experts"], e), X) for e in range(2)] + [(expert(own["experts"], 0), X)]
    mixture = mixed_by_hand(own["gate"], X, experts)
    same(found[name], mixture @ np.asarray(own["head"]["kernel"]) + np.asarray(own["head"]["bias"]))


def test_layers_of_extraction():
  """Two layers by hand: the shared gate mixes all experts of the first, and each task those that it may see."""
  net = mtl.arch.ple(trunk(), HEADS, shared_experts=1, task_experts=2)
  params, state = start(net)
  found, report = run(net, params, state)
  first = params["shared"]["layer_0"]
  experts = [(expert(first["experts"], e), X) for e in range(5)]
  shared = mixed_by_hand(first["shared_gate"], X, experts)
  for number, (name, own) in enumerate(params["task"].items()):
    mine = [experts[0], *experts[1 + 2 * number : 3 + 2 * number]]
    stream = mixed_by_hand(expert(first["gates"], number), X, mine)
    last = [(expert(params["shared"]["experts"], 0), shared), *((expert(own["experts"], e), stream) for e in range(2))]
    mixture = mixed_by_hand(own["gate"], stream, last)
    same(found[name], mixture @ np.asarray(own["head"]["kernel"]) + np.asarray(own["head"]["bias"]))
    same(report["load/layer_0"][number], weights_by_hand(expert(first["gates"], number), X).mean(0))
  same(report["load/layer_0/shared"], weights_by_hand(first["shared_gate"], X).mean(0))


def test_one_layer_of_extraction_is_cgc():
  options = {"shared_experts": 1, "task_experts": 2}
  one, other = mtl.arch.ple(trunk(), HEADS, layers=[2], **options), mtl.arch.cgc(trunk(), HEADS, **options)
  params, state = start(one)
  copied = {**params, "shared": {"experts": dict(zip(("Dense_0", "Dense_1"), _layers(params["shared"]), strict=True))}}
  copied["task"] = {
    name: {**own, "experts": dict(zip(("Dense_0", "Dense_1"), _layers(own), strict=True))}
    for name, own in params["task"].items()
  }
  same(run(one, params, state)[0], run(other, copied, state)[0])


def _layers(params):
  stages = params["experts"]
  return stages["stage_0"]["Dense_0"], stages["stage_1"]["Dense_1"]


def test_extraction_without_shared_experts_is_a_tower_per_task():
  net = mtl.arch.ple(trunk(), HEADS, shared_experts=0, task_experts=1)
  towers = mtl.arch.cross_stitch(trunk(), HEADS, keep=1.0)
  params, state = start(net)
  last = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(own["experts"] for own in params["task"].values()))
  copied, towers_state = start(towers)
  copied["shared"]["stitch"] = {"stage_0": np.eye(2, dtype=np.float32), "stage_1": np.eye(2, dtype=np.float32)}
  copied["shared"]["towers"] = {"stage_0": params["shared"]["layer_0"]["experts"], "stage_1": last}
  copied["task"] = {name: own["head"] for name, own in params["task"].items()}
  same(run(net, params, state)[0], run(towers, copied, towers_state)[0])
  assert list(net.report(params, state)) == ["load/a", "load/b", "load/layer_0"]


def test_stages_are_dealt_to_layers():
  """Three layers with a gate of one's own, after a stage for all."""
  deep = mtl.from_linen(mtl.nn.MLP((6, 5, 4, 3, 2)))
  net = mtl.arch.ple(
    deep, HEADS, layers=(1, 2, 1), shared_stages=1, gate=lambda count: mtl.from_linen(mtl.nn.MLP((3,), out=count))
  )
  params, state = shapes(net)
  assert sorted(params["shared"]) == ["experts", "layer_0", "layer_1", "stem"]
  assert params["shared"]["layer_0"]["experts"]["Dense_1"]["kernel"].shape == (6, 6, 5)  # 2 shared, 2 a task
  assert params["shared"]["layer_1"]["experts"]["stage_1"]["Dense_3"]["kernel"].shape == (6, 4, 3)
  assert params["shared"]["layer_1"]["gates"]["Dense_1"]["kernel"].shape == (2, 3, 4)
  assert params["task"]["a"]["experts"]["Dense_4"]["kernel"].shape == (2, 3, 2)
  part = {**state, "task": {"b": state["task"]["b"]}}
  loads = {name: load.shape for name, load in net.only(["b"]).report(params, part).items()}
  assert loads.pop("load/b") == (4,)
  assert [*loads.values()] == [(2, 4), (6,)] * 2  # of each layer but the last, the tasks' gates and the shared one


WIDE = mtl.from_linen(nn.Dense(7))
GATED = {
  "mmoe": (mtl.arch.mmoe, 4, WIDE),
  "omoe": (mtl.arch.omoe, 4, WIDE),
  "cgc": (mtl.arch.cgc, 4, WIDE),
  "ple": (mtl.arch.ple, 4, lambda count: WIDE),
  "moe_topk": (mtl.arch.moe_topk, 4, WIDE),
}


@pytest.mark.parametrize("name", GATED)
def test_a_gate_for_another_number_of_experts(name):
  make, count, gate = GATED[name]
  net = make(trunk(), HEADS, gate=gate)
  with pytest.raises(mtl.UserError, match=rf"^{name}: gate gives an array \(5, 7\), expected \(B, \d\), a logit for"):
    shapes(net)
  if name != "ple":
    params = shapes(make(trunk(), HEADS, gate=mtl.from_linen(nn.Dense(count))))[0]
    gates = params["shared"] if name == "omoe" else params["task"]["a"]
    assert jax.tree.leaves(gates["gate"])[-1].shape == (4, count)


MISTAKES = {
  "omoe: experts is 0, expected at least 1": lambda: mtl.arch.omoe(trunk(), HEADS, experts=0),
  "cgc: shared_experts is 0, expected at least 1": lambda: mtl.arch.cgc(trunk(), HEADS, shared_experts=0),
  "cgc: task_experts is 0, expected at least 1": lambda: mtl.arch.cgc(trunk(), HEADS, task_experts=0),
  "cgc: gate is 3, expected a Net": lambda: inspect.unwrap(mtl.arch.cgc)(trunk(), HEADS, gate=3),
  "ple: shared_experts is -1, expected at least 0": lambda: mtl.arch.ple(trunk(), HEADS, shared_experts=-1),
  "ple: task_experts is 0, expected at least 1": lambda: mtl.arch.ple(trunk(), HEADS, task_experts=0),
  "ple: layers is [1, 2], but there are 2 stages to deal": lambda: mtl.arch.ple(trunk(), HEADS, layers=[1, 2]),
  "ple: layers is [0, 2], but there are 2": lambda: mtl.arch.ple(trunk(), HEADS, layers=[0, 2]),
  "ple: layers is [], but there are 2": lambda: mtl.arch.ple(trunk(), HEADS, layers=[]),
  "ple: shared_stages is 2, but the trunk has 2 stages": lambda: mtl.arch.ple(trunk(), HEADS, shared_stages=2),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(message):
  with pytest.raises(mtl.UserError, match="^" + re.escape(message)):
    MISTAKES[message]()
