"""The engine that chooses: by needs, by counted work, by memory; and what it counts."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.engine._backward.work import work_of
from mtl_jax.engine.auto import choose
from mtl_jax.engine.linearize import linearize
from tests.engine._problem import ConvTrunk, Trunk, one_step, problem, relative_distance


def linear(tasks, read, batch=8, **kind):
  """What `read` finds in the linearized objective; nothing is computed."""
  net, made, data, inputs = problem(tasks, batch=batch, **kind)
  first, found = data[inputs if isinstance(inputs, str) else next(iter(inputs.values()))], []

  def traced(key, data):
    found.append(read(linearize(mtl.objective(net, made, inputs), *net.init(key, first), data, None)))

  jax.eval_shape(traced, jax.random.key(0), data)
  return found[0]


@pytest.mark.parametrize(
  ("balancer", "kind", "memory", "expected", "reason"),
  [
    (mtl.balance.equal(), {}, 1e9, "losses", "needs no task gradients"),
    (mtl.balance.graddrop(), {}, 0.0, "stacked", "looks at the task gradients themselves"),
    (mtl.balance.pcgrad(), {"trunk": Trunk((64, 64))}, 1e9, "factored", "factors save"),  # 8 examples, 64 wide
    (mtl.balance.pcgrad(), {"trunk": Trunk((64, 64)), "batch": 640}, 1e9, "stacked", "one more backward pass takes"),
    (mtl.balance.pcgrad(), {"trunk": ConvTrunk()}, 1e9, "stacked", "factors save"),
    (mtl.balance.pcgrad(), {"trunk": ConvTrunk()}, 100.0, "factored", "are more than the 0 MiB allowed"),
  ],
)
def test_the_choice_and_its_reason(balancer, kind, memory, expected, reason):
  engine, why = linear(8, lambda linearized: choose(linearized, balancer, memory), **kind)
  assert engine.name == expected and reason in why


def test_counted_work_of_dense_layers():
  """Three tasks, 8 examples, layers 6-16 and 16-12: by hand."""
  work = linear(3, lambda linearized: work_of(linearized.pullbacks, None), features=6)
  assert work.parameters == 316  # 6 x 16 + 16 + 16 x 12 + 12
  assert work.backward == 3840  # 8 x (96 + 192) for the kernels' gradients, 8 x 192 on through the second layer
  # Layer 6-16: factors 8 x 8 x (6 + 3 x 16) + 9 x 8 x 16 = 4608, rows 3 x 8 x 96 + 9 x 96 = 3168: rows.
  # Layer 16-12: factors 8 x 8 x (16 + 3 x 12) + 9 x 8 x 12 = 4192, rows 3 x 8 x 192 + 9 x 192 = 6336: factors.
  assert (work.saved, work.rows, work.gathered) == (6336 - 4192, 316 - 192, 8 * (16 + 3 * 12))


def test_convolutions_and_loops_are_counted():
  def losses(params, state, batch, key):
    w = params["shared"]
    x = jax.lax.conv_general_dilated(batch, w["conv"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    h, _ = jax.lax.scan(lambda h, _: (jnp.matmul(h, w["dense"]), None), x.mean((1, 2)), None, length=5)
    return {"a": h.sum(), "b": h[0].sum()}, {"state": state}

  shared = {"conv": jnp.ones((3, 3, 2, 4)), "dense": jnp.ones((4, 4))}
  linearized = linearize(losses, {"shared": shared, "task": {}}, {}, jnp.ones((2, 6, 6, 2)), None)
  work = work_of(linearized.pullbacks, None)
  # The kernel's 3 x 3 x 2 x 4 entries from 6 x 6 cotangents of 2 images; `dense`, and on through it, 5 times.
  assert work.backward == 72 * 36 * 2 + 5 * 2 * (2 * 4 * 4)


@pytest.mark.slow
def test_auto_takes_the_step_of_what_it_chose_and_says_so(caplog):
  net, tasks, batch, inputs = problem(3)
  balancer, tx, results = mtl.balance.mgda(), optax.sgd(0.1), {}
  with caplog.at_level(logging.INFO, logger="mtl_jax"):
    for name, engine in {"default": None, "stacked": mtl.engine.stacked()}.items():
      results[name] = one_step(net, tasks, batch, inputs, balancer, engine)[1]
    state = jax.eval_shape(lambda: mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(1)))
    jax.eval_shape(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, mtl.engine.auto()), state, batch)
  assert [record.message.partition(" (")[0] for record in caplog.records] == ["engine: stacked"] * 2
  assert relative_distance(results["default"], results["stacked"]) == 0.0


def test_on_several_devices_what_is_sent_decides(monkeypatch):
  """Large layers and few examples: factors; small ones and many: rows."""
  monkeypatch.setattr("mtl_jax._core.devices.shards", lambda: 8)
  monkeypatch.setattr("mtl_jax.engine._scatter.scattered", lambda tree, skip=0: tree)

  def choice(linearized):
    return choose(linearized, mtl.balance.mgda(), 1e9)

  assert linear(8, choice, batch=8, trunk=Trunk((256, 256)))[0].name == "factored"
  engine, reason = linear(8, choice, batch=512, trunk=Trunk((64, 64)))
  assert engine.name == "stacked" and "devices would send" in reason
  assert np.isfinite(float(reason.split("send ")[1].split(" MiB")[0]))
