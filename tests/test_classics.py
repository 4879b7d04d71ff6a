"""The network of the classic tutorials trains end to end: 10 -> 20 -> 20 -> (2, 2), two binary tasks."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

import mtl_jax as mtl


class Trunk(nn.Module):
  """10 -> 20 -> 20."""

  @nn.compact
  def __call__(self, x):
    return nn.relu(nn.Dense(20)(nn.relu(nn.Dense(20)(x))))


def separable(size: int = 256) -> dict:
  """Two labels, each the side of a plane through ten-dimensional inputs that keep a margin."""
  rng = np.random.default_rng(0)
  planes = np.linalg.qr(rng.normal(size=(10, 2)))[0]
  x = rng.normal(size=(size, 10))
  side = np.sign(x @ planes)
  x = (x + 0.5 * side @ planes.T).astype(np.float32)
  return {"x": x, "first": (side[:, 0] > 0).astype(np.int32), "second": (side[:, 1] > 0).astype(np.int32)}


@pytest.mark.parametrize("name", ["uncertainty", "pcgrad"])
def test_the_tutorial_network_learns_both_tasks(name):
  net = mtl.arch.hard_sharing(
    mtl.from_linen(Trunk()), {task: mtl.from_linen(nn.Dense(2)) for task in ("first", "second")}
  )
  tasks = {task: mtl.tasks.classification(task, 2) for task in ("first", "second")}
  data, balancer, tx = separable(), getattr(mtl.balance, name)(), optax.adam(1e-2)
  state = mtl.init_train_state(net, tasks, balancer, tx, data, jax.random.key(0))
  assert jax.tree.map(np.shape, state.params["task"]["first"]) == {"kernel": (20, 2), "bias": (2,)}
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx), donate_argnums=0)
  losses = []
  for i in range(150):
    rows = np.arange(64) + 64 * (i % 4)
    state, metrics = step(state, {key: value[rows] for key, value in data.items()})
    losses.append(jax.device_get(metrics["losses"]))
  for task in tasks:
    start, end = losses[0][task], np.mean([step[task] for step in losses[-4:]])
    assert 0.4 < start < 1.5  # about log 2
    assert end < 0.2 * start
  predictions, _ = net.apply(state.params, state.state, data["x"])
  for task, definition in tasks.items():
    accuracy = definition.metrics["accuracy"]
    right = accuracy.compute(accuracy.update(predictions[task], definition.label(data), np.ones(256, np.float32)))
    assert float(right) > 0.97
  assert int(state.step) == 150 and int(state.skipped) == 0
