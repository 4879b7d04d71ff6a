"""What compression costs: pruned trunks, and small models that learn from large ones, by test scores and sizes.

`MTL_JAX_DATA=FOLDER taskset -c 0 python benchmarks/compressed.py`, ten minutes; with the extra `safetensors`. Writes
`benchmarks/results/compressed.md`. Settings are chosen by validation data; test data are looked at once.
"""

from __future__ import annotations

import dataclasses
import gzip
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _machine import describe, write
from _markdown import table

import mtl_jax as mtl
from mtl_jax.analysis.plots import standard_error
from mtl_jax.experiment import Experiment, configure, train_run
from mtl_jax.experiment.config import data_of, problem_of
from mtl_jax.experiment.run import compile_run, fit_run
from mtl_jax.recipes import Parts, Recipe, Splits

SHARES = (None, 0.5, 0.8, 0.9, 0.95)
GRID = [(weight, temperature) for weight in (0.5, 0.9) for temperature in (2.0, 4.0)]
"""Weights of the teacher and temperatures, of which validation data choose."""
Runs = list[tuple[mtl.Fit, Any]]
"""Runs, one a seed, with their test scores."""


def main(recipes: tuple[str, ...] = ("digits", "tox21"), seeds: int = 3, steps: int | None = None) -> None:
  """Measures, and writes the page.

  Args:
    recipes: What is pruned; the first one is distilled, too.
    seeds: Runs of each.
    steps: Steps of each run; None: the recipe's.
  """
  began, parts = time.process_time(), []
  large: Runs = []
  for name in recipes:
    splits = data_of(configure(name))
    rows, whole = pruning(name, splits, seeds, steps)
    parts.append(f"## Pruning the trunk of {name}\n\n{rows}")
    large = large or whole
  splits = data_of(configure(recipes[0]))
  parts.append(f"## A small student of {recipes[0]}\n\n{distillation(recipes[0], splits, large, seeds, steps)}")
  minutes = (time.process_time() - began) / 60
  write("compressed.md", page(parts, recipes, seeds, steps, minutes))


def trained(experiment: Experiment, splits: Splits, seeds: int) -> Runs:
  """A run with each seed, and its test scores."""
  loop = mtl.train.Loop(programs=compile_run(experiment, splits))
  each = [experiment._replace(config=dataclasses.replace(experiment.config, seed=seed)) for seed in range(seeds)]
  return [train_run(one, splits, loop=loop, progress=False) for one in each]


def pruning(name: str, splits: Splits, seeds: int, steps: int | None) -> tuple[str, Runs]:
  """The table, and the runs that were not pruned."""
  lines, whole = [], []
  for share in SHARES:
    experiment = configure(name, prune=share, steps=steps)
    runs = trained(experiment, splits, seeds)
    whole = whole or runs
    kernels = mtl.compress.zeros(runs[0][0].params)
    shared = [value for path, value in kernels.items() if path.startswith("shared/")]
    lines.append([f"{np.mean(shared):.1%}", *scores(experiment.recipe, runs), *sizes(runs)])
  return table(["zeros in kernels", *columns(experiment.recipe), "safetensors, kB", "gzipped, kB"], lines), whole


def columns(recipe: Recipe) -> list[str]:
  """Tasks and their metrics; of many tasks the mean, the least and the greatest."""
  names = {name: task.main_metric for name, task in recipe.tasks.items()}
  if len(names) > 4:
    metric = next(iter(names.values()))
    return [f"{metric}, mean of {len(names)}", *(f"{name} {metric}" for name in ends(recipe))]
  return [f"{name} {metric}" for name, metric in names.items()]


def ends(recipe: Recipe) -> list[str]:
  """The first and the last task."""
  names = list(recipe.tasks)
  return [names[0], names[-1]]


def scores(recipe: Recipe, runs: Runs) -> list[str]:
  """A cell for each column: the mean over seeds and its standard error."""
  each = {name: [test[name][task.main_metric] for _, test in runs] for name, task in recipe.tasks.items()}
  if len(each) > 4:
    each = {"mean": np.mean(list(each.values()), axis=0).tolist()} | {name: each[name] for name in ends(recipe)}
  return [f"{np.mean(values):.4f} ± {standard_error(values):.4f}" for values in each.values()]


def sizes(runs: Runs) -> list[str]:
  """Of the file of all parameters, as it is and gzipped, in the mean."""
  found = []
  with tempfile.TemporaryDirectory() as folder:
    for fit, _ in runs:
      file = Path(folder, "model.safetensors")
      mtl.transfer.save_safetensors(file, fit.params)
      found.append([file.stat().st_size, len(gzip.compress(file.read_bytes(), 9))])
  return [f"{size / 1e3:.0f}" for size in np.mean(found, axis=0)]


def narrow(names: Sequence[str]) -> Parts:
  """The network of digits with a quarter of the width."""
  outs = {"left": 10, "right": 10, "tilt": 1}
  heads = {name: mtl.from_linen(mtl.nn.MLP((8,), outs[name])) for name in names}
  return Parts(mtl.from_linen(mtl.nn.CNN((8, 16), features=64, strides=2, pool=1)), heads)


def as_teacher(experiment: Experiment, splits: Splits, fit: mtl.Fit) -> mtl.Trained:
  """A trained model as `mtl.load` gives it."""
  data = mtl.data.describe(splits.train, splits.about)
  return mtl.Trained(problem_of(experiment, data), fit.params, fit.net_state, fit.best_step, data)


def distillation(name: str, splits: Splits, large: Runs, seeds: int, steps: int | None) -> str:
  """The table of students."""
  base = configure(name, steps=steps)
  alone = [configure(name, steps=steps, tasks=(task,)) for task in base.recipe.tasks]
  singles = [as_teacher(one, splits, fit_run(one, splits, progress=False)) for one in alone]
  teachers = {"one large model": [as_teacher(base, splits, large[0][0])], "three large single-task models": singles}
  student = configure(dataclasses.replace(base.recipe, net=narrow), steps=steps)
  runs = trained(student, splits, seeds)
  lines = [
    [told, "", *scores(base.recipe, each), *sizes(each)[:1]]
    for told, each in (("labels alone, the large model itself", large), ("labels alone", runs))
  ]
  for told, each in teachers.items():
    taught = {}
    for weight, temperature in GRID:
      taught[weight, temperature] = both = with_teachers(student, splits, each, weight, temperature)
      taught[weight, temperature] = (*both, fit_run(*both, progress=False).score)
    best = min(taught, key=lambda chosen: taught[chosen][2])
    runs = trained(*taught[best][:2], seeds)
    chosen = f"w = {best[0]:g}, T = {best[1]:g}"
    lines.append([told, chosen, *scores(base.recipe, runs), *sizes(runs)[:1]])
  return table(["learns from", "chosen", *columns(base.recipe), "safetensors, kB"], lines)


def with_teachers(
  student: Experiment, splits: Splits, teachers: Sequence[mtl.Trained], weight: float, temperature: float
) -> tuple[Experiment, Splits]:
  """The student's experiment with teachers."""
  options = {"weight": weight, "temperature": temperature}
  found = mtl.compress.distilled(student.recipe.tasks, teachers, splits.train, **options)
  recipe = dataclasses.replace(student.recipe, tasks=found.tasks)
  return student._replace(recipe=recipe), splits._replace(train=found.train)


def page(parts: Sequence[str], recipes: Sequence[str], seeds: int, steps: int | None, minutes: float) -> str:
  """The page."""
  told = ", ".join(f"{name} {steps or configure(name).config.steps}" for name in recipes)
  return (
    "# Compressed models\n\n`MTL_JAX_DATA=FOLDER taskset -c 0 python benchmarks/compressed.py`\n\n"
    f"{describe('flax', 'optax')}; one core, {minutes:.1f} minutes of it in all. Test scores, the mean over {seeds} "
    f"seeds and its standard error; equal weighting; steps: {told}. Pruned are the trunk's kernels, between a tenth "
    "and three quarters of the steps (`mtl-jax train --prune`). Sizes are of all parameters in float32, and of that "
    "file packed by gzip; the time of a call does not change, since kernels stay dense. Models of 8 and 16 bits are in "
    "[exports.md](exports.md).\n\n" + "\n\n".join(parts) + "\n\n"
    "The student has a quarter of the large model's width in every layer. Its weight of the teacher w and temperature "
    f"T are those of {len(GRID)} pairs with the best validation score at seed 0; teachers are of seed 0, so standard "
    "errors are those of the student's seeds alone."
  )


if __name__ == "__main__":
  tyro.cli(main)
