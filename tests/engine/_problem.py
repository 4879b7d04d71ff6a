"""A small network with any number of tasks, its data, and one step of it, shared by the engine tests."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import mtl_jax as mtl
from mtl_jax._jaxpr.equations import inner


class Trunk(nn.Module):
  widths: tuple[int, ...] = (16, 12)

  @nn.compact
  def __call__(self, x):
    for width in self.widths:
      x = nn.relu(nn.Dense(width)(x))
    return x


class ConvTrunk(nn.Module):
  @nn.compact
  def __call__(self, x, train=False):
    x = x.reshape(x.shape[0], 4, 4, -1)
    x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(6, (3, 3))(x)))
    return nn.Dense(10)(nn.LayerNorm()(x.mean(axis=(1, 2))))


def problem(
  num_tasks, *, trunk=None, head=None, batch=24, features=16, cut=True, own_inputs=False, seed=0, masked=False
):
  """`(net, tasks, batch, inputs)` of a regression problem; `masked`: with a mask `m_t0` for each task, all ones."""
  names = [f"t{i}" for i in range(num_tasks)]
  heads = {name: mtl.from_linen(nn.Dense(1) if head is None else head) for name in names}
  net = mtl.arch.hard_sharing(mtl.from_linen(Trunk() if trunk is None else trunk), heads)
  if not cut:
    net = dataclasses.replace(net, cut=None)
  tasks = {name: mtl.tasks.regression(f"y_{name}", mask=f"m_{name}" if masked else None) for name in names}
  keys = jax.random.split(jax.random.key(seed), 2 * num_tasks + 1)
  inputs = {name: f"x_{name}" for name in names} if own_inputs else "x"
  data = {f"y_{name}": jax.random.normal(key, (batch,)) for name, key in zip(names, keys, strict=False)}
  xs = inputs.values() if own_inputs else ["x"]
  data |= {x: jax.random.normal(key, (batch, features)) for x, key in zip(xs, keys[num_tasks:], strict=False)}
  data |= {f"m_{name}": jnp.ones(batch) for name in names if masked}
  return net, tasks, data, inputs


def one_step(net, tasks, batch, inputs, balancer, engine, *, compute_dtype=None):
  """The parameters before and after one step of gradient descent, and the step's metrics."""
  tx = optax.sgd(0.1)
  objective = mtl.objective(net, tasks, inputs, compute_dtype=compute_dtype)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(1), inputs=inputs, engine=engine)
  step = jax.jit(mtl.make_train_step(objective, balancer, tx, engine))
  new, metrics = step(state, batch)
  return state.params, new.params, metrics


def temporary_memory(net, tasks, batch, engine):
  """What a compiled step of MGDA needs beside its arguments and results, bytes."""
  balancer, tx = mtl.balance.mgda(), optax.sgd(0.1)
  state = jax.eval_shape(lambda: mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0)))
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx, engine), donate_argnums=0)
  memory = step.lower(state, batch).compile().memory_analysis()
  assert memory is not None
  return memory.temp_size_in_bytes


def relative_distance(a, b):
  """The largest distance between two trees over leaves, relative to the leaf's largest entry.

  Leaves below a thousandth of the tree's largest entry count relative to that: they may be rounding alone, as the
  gradient of a bias before batch normalisation.
  """
  a, b = ([np.asarray(leaf) for leaf in jax.tree.leaves(tree)] for tree in (a, b))
  sizes = [np.max(np.abs(leaf)) for leaf in b]
  scales = [max(size, 1e-3 * max(sizes)) for size in sizes]
  return float(max(np.max(np.abs(x - y)) / scale for x, y, scale in zip(a, b, scales, strict=True)))


def update(before, after):
  """The change of the parameters."""
  return jax.tree.map(np.subtract, jax.device_get(after), jax.device_get(before))


def convolutions(eqns):
  """The convolutions among equations and inside them."""
  for eqn in eqns:
    if eqn.primitive.name == "conv_general_dilated":
      yield eqn
    yield from convolutions(inner(eqn))
