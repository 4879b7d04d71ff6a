"""Tasks that take turns, each batch with labels of one task alone, against trainings with all labels.

`python benchmarks/missing_labels.py`, minutes.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _machine import describe, write
from _markdown import table

import mtl_jax as mtl
from mtl_jax import recipes

METHODS = ("equal", "uncertainty", "pcgrad", "mgda", "cagrad", "nash", "famo")


def main(steps: int = 1500, seeds: int = 3, batch_size: int = 128) -> None:
  """Writes benchmarks/results/missing_labels.md.

  Args:
    steps: Steps of the training with all labels; tasks that take turns get three times as many, so as many labels.
    seeds: Trainings of each kind, which differ in initialisation and order of the examples.
    batch_size: Examples per step.
  """
  recipe = recipes.load("digits")
  data = recipe.data(0)
  names = list(recipe.tasks)
  labels = {"left": "left", "right": "right", "tilt": "tilt"}
  tasks = {
    "left": mtl.tasks.classification("left", 10, mask="has_left"),
    "right": mtl.tasks.classification("right", 10, mask="has_right"),
    "tilt": mtl.tasks.regression("tilt", mask="has_tilt", std=45.0 / 3**0.5),
  }
  assert list(tasks) == names and set(labels) == set(names)
  heads = {"left": 10, "right": 10, "tilt": 1}
  net = mtl.arch.hard_sharing(
    mtl.from_linen(mtl.nn.MLP((128, 64))), {name: mtl.from_linen(mtl.nn.MLP((), out)) for name, out in heads.items()}
  )
  lines = []
  for method in METHODS:
    every = [trained(net, tasks, data, method, steps, batch_size, seed, turns=False) for seed in range(seeds)]
    turns = [trained(net, tasks, data, method, 3 * steps, batch_size, seed, turns=True) for seed in range(seeds)]
    difference = np.log(turns) - np.log(every)
    lines.append([f"`{method}`", *cells(every), *cells(turns), *cells(difference, sign="+")])
    print(lines[-1], flush=True)
  heading = ["method", *(f"{kind} {name}" for kind in ("all:", "turns:", "log ratio") for name in names)]
  write(
    "missing_labels.md",
    f"# Tasks that take turns\n\n{describe()}.\n\nValidation losses on `digits` (cross entropy of left and right, "
    f"squared error of tilt in standard deviations), an MLP of two shared layers, Adam, mean and standard error over "
    f"{seeds} seeds. *all*: {steps} steps with the labels of all tasks. *turns*: {3 * steps} steps, each with the "
    "labels of one task, the tasks in turn. The last columns are the logarithms of the ratios of both, seed by "
    "seed.\n\n" + table(heading, lines),
  )


def trained(
  net: mtl.Net, tasks: Any, data: recipes.Splits, method: str, steps: int, batch_size: int, seed: int, *, turns: bool
) -> list[float]:
  """The validation losses after a training."""
  balancer = getattr(mtl.balance, method)()
  tx = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
  objective = mtl.objective(net, tasks)
  train = {key: jnp.asarray(value) for key, value in data.train.items()}
  count = len(train["x"])
  batch = dict(train, **{f"has_{name}": jnp.ones(count) for name in tasks})
  state = mtl.init_train_state(net, tasks, balancer, tx, {"x": train["x"][:1]}, jax.random.key(seed))
  step = mtl.make_train_step(objective, balancer, tx)
  orders = np.concatenate(
    [np.random.default_rng([seed, i]).permutation(count) for i in range(-(-steps * batch_size // count))]
  )[: steps * batch_size].reshape(steps, batch_size)

  def one(state, number_and_rows):
    number, rows = number_and_rows
    chosen = {key: value[rows] for key, value in batch.items()}
    if turns:
      for i, name in enumerate(tasks):
        chosen[f"has_{name}"] = jnp.where(number % len(tasks) == i, chosen[f"has_{name}"], 0.0)
    return step(state, chosen)[0], None

  run = jax.jit(lambda state, rows: jax.lax.scan(one, state, (jnp.arange(steps), rows))[0], donate_argnums=0)
  state = run(state, jnp.asarray(orders))
  assert int(state.skipped) == int(state.empty) == 0
  valid = dict(data.valid, **{f"has_{name}": np.ones(len(data.valid["x"]), np.float32) for name in tasks})
  found = mtl.train.make_evaluate(net, tasks)(state.params, state.state, valid)
  return [found[name]["loss"] for name in tasks]


def cells(values: Any, sign: str = "") -> list[str]:
  """Mean and standard error over seeds, for each task."""
  values = np.asarray(values)
  errors = values.std(axis=0, ddof=1) / len(values) ** 0.5
  return [f"{mean:{sign}.3f} +- {error:.3f}" for mean, error in zip(values.mean(axis=0), errors, strict=True)]


if __name__ == "__main__":
  tyro.cli(main)
