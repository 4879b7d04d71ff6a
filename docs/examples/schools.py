"""Exam scores in 139 schools: as many tasks, each with examples of its own."""

import flax.linen as nn
import numpy as np
import optax

import mtl_jax as mtl


def stand_in(schools=139, features=28):
  """In place of your files: `{school: {"x": (pupils, 28), "y": (pupils,)}}`, 20 to 250 pupils a school.

  The schools differ, but not in every way: what counts in each is a mix of the same three things.
  """
  rng = np.random.default_rng(0)
  shared = rng.normal(size=(features, 3))
  data = {}
  for number in range(schools):
    x = rng.normal(size=(rng.integers(20, 251), features)).astype(np.float32)
    score = 20 + x @ shared @ rng.normal(size=3) + rng.normal(scale=3, size=len(x))
    data[f"school_{number}"] = {"x": x, "y": score.astype(np.float32)}
  return data


def part(pupils, rows):
  """Some of a school's pupils."""
  return {key: values[rows] for key, values in pupils.items()}


schools = stand_in()
train = {name: part(pupils, slice(10, None)) for name, pupils in schools.items()}
valid = {name: part(pupils, slice(10)) for name, pupils in schools.items()}
points = np.concatenate([pupils["y"] for pupils in train.values()])

task = mtl.tasks.regression("y", mean=float(points.mean()), std=float(points.std()))
tasks = {name: task for name in schools}
heads = {name: mtl.from_linen(nn.Dense(1)) for name in schools}
net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(8)), heads)

mixed = mtl.data.mixture(train, sizes=8)
run = mtl.fit(net, tasks, mtl.balance.equal(), optax.adam(1e-2), mixed, valid=valid, steps=300)
scores = mtl.train.make_evaluate(net, tasks)(run.params, run.net_state, valid)
errors = [scores[name]["rmse"] for name in schools]
print(f"points that a prediction is off: {np.mean(errors):.1f}; that the mean of all would be: {points.std():.1f}")
