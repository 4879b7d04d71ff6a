"""The torques of a robot arm's seven joints: seven tasks with units of their own, or one task with seven values."""

import flax.linen as nn
import numpy as np
import optax

import mtl_jax as mtl


def stand_in(count, seed):
  """In place of your files: position, speed and acceleration of seven joints (count, 21), torques (count, 7).

  Torques near the shoulder are a hundred times those of the wrist.
  """
  angle, speed, push = np.split(np.random.default_rng(seed).normal(size=(count, 21)), 3, axis=1)
  couple = np.random.default_rng(0).normal(size=(7, 7))
  torque = (push * (2 + np.cos(angle @ couple)) + speed**2 @ couple + np.sin(angle)) * np.logspace(1.5, -0.5, 7)
  return np.concatenate([angle, speed, push], axis=1).astype(np.float32), torque.astype(np.float32)


def read(count, seed):
  """The input, each torque by itself, and all of them, in newton metres."""
  x, torque = stand_in(count, seed)
  return {"x": x, "torque": torque} | {f"joint{i}": torque[:, i] for i in range(7)}


train, valid, test = read(4000, 1), read(500, 2), read(1000, 3)
mean, std = train["torque"].mean(axis=0), train["torque"].std(axis=0)
joints = {f"joint{i}": mtl.tasks.regression(f"joint{i}", mean=float(mean[i]), std=float(std[i])) for i in range(7)}
for part in (train, valid, test):  # one task has one unit: standard deviations
  part["torque"] = (part["torque"] - mean) / std
whole = {"torque": mtl.tasks.regression("torque", size=7)}


def trained(tasks, width, balancer):
  """One trunk with a head for each of the tasks, and its metrics on the test data."""
  heads = {name: mtl.from_linen(nn.Dense(width)) for name in tasks}
  net = mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.MLP((64, 64))), heads)
  run = mtl.fit(net, tasks, balancer, optax.adam(3e-3), train, valid=valid, steps=500)
  return run, mtl.train.make_evaluate(net, tasks)(run.params, run.net_state, test)


runs = {
  "one task": trained(whole, 7, mtl.balance.equal()),
  "seven tasks": trained(joints, 1, mtl.balance.equal()),
  "seven tasks, balanced": trained(joints, 1, mtl.balance.nash()),
}
for name, (_, scores) in runs.items():
  print(name, {task: round(values["r2"], 3) for task, values in scores.items()})
