"""Tasks that take turns, each batch with labels of one task alone, against trainings with all labels.

`python benchmarks/missing_labels.py`, minutes.
"""

from __future__ import annotations

from typing import Any

import jax
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
    every, turns = trained(net, tasks, data, method, steps, batch_size, seeds)
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
  net: mtl.Net, tasks: Any, data: recipes.Splits, method: str, steps: int, batch_size: int, seeds: int
) -> tuple[list[list[float]], list[list[float]]]:
  """The validation losses after trainings with all labels, and after those in which tasks take turns, one per seed."""
  balancer, count, longest = getattr(mtl.balance, method)(), len(data.train["x"]), 3 * steps
  rate = optax.cosine_decay_schedule(2e-3, 1000)
  tx = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks), balancer, tx), donate_argnums=0)
  ones, zeros = np.ones(batch_size, np.float32), np.zeros(batch_size, np.float32)
  evaluate = mtl.train.make_evaluate(net, tasks)
  valid = dict(data.valid, **{f"has_{name}": np.ones(len(data.valid["x"]), np.float32) for name in tasks})

  def run(seed, length, turns):
    state = mtl.init_train_state(net, tasks, balancer, tx, {"x": data.train["x"][:1]}, jax.random.key(seed))
    epochs = -(-length * batch_size // count)
    order = np.concatenate([np.random.default_rng([seed, epoch]).permutation(count) for epoch in range(epochs)])
    for number in range(length):
      rows = order[number * batch_size : (number + 1) * batch_size]
      batch = {key: value[rows] for key, value in data.train.items()}
      for i, name in enumerate(tasks):
        batch[f"has_{name}"] = ones if not turns or number % len(tasks) == i else zeros
      state.opt_state.hyperparams["learning_rate"] = rate(1000 * number / length)
      state, _ = step(state, batch)
    assert int(state.skipped) == int(state.empty) == 0
    found = evaluate(state.params, state.state, valid)
    return [found[name]["loss"] for name in tasks]

  return [run(seed, steps, False) for seed in range(seeds)], [run(seed, longest, True) for seed in range(seeds)]


def cells(values: Any, sign: str = "") -> list[str]:
  """Mean and standard error over seeds, for each task."""
  values = np.asarray(values)
  errors = values.std(axis=0, ddof=1) / len(values) ** 0.5
  return [f"{mean:{sign}.3f} +- {error:.3f}" for mean, error in zip(values.mean(axis=0), errors, strict=True)]


if __name__ == "__main__":
  tyro.cli(main)
