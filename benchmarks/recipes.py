"""A recipe against single-task training and classical baselines: the figures of `docs/recipes.md`.

For example `MTL_JAX_DATA=FOLDER python benchmarks/recipes.py sider --balancers equal uncertainty nash`. Writes
`benchmarks/results/recipe_RECIPE.json`; then `python docs/recipes.py` writes the page.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _classical
import numpy as np
import tyro
from _machine import RESULTS, describe
from _options import words_of
from _published import published

import mtl_jax as mtl
from mtl_jax.analysis.plots import standard_error
from mtl_jax.experiment.config import configure, problem_of
from mtl_jax.table.baselines import baselines
from mtl_jax.train.log import write_json

MANY = 64
"""Of more tasks only the mean over them is written."""


def main(
  recipe: tyro.conf.Positional[str],
  balancers: tuple[str, ...] = ("equal", "uncertainty", "nash"),
  seeds: int = 3,
  steps: int | None = None,
  single_task: bool = True,
  classical: bool = True,
  options: tuple[str, ...] = (),
) -> None:
  """Trains all, and writes the file.

  Args:
    recipe: Its name.
    balancers: What it is trained with.
    seeds: Runs of each network: of initialisation and order, on the same parts of the data.
    steps: Of each run; None: the recipe's.
    single_task: Whether single-task baselines are trained, without which there is no Delta_m.
    classical: Whether scikit-learn's baselines are fitted, for recipes whose input is a vector of numbers or a table.
    options: Those of the recipe, as after `--recipe.`: `net=graph`.
  """
  words = words_of(options)
  begun = time.perf_counter()
  experiment = configure(recipe, recipe_options=words, steps=steps)
  splits = experiment.recipe.data(0)
  compared = mtl.compare(
    recipe, balancers, seeds=seeds, single_task=single_task, steps=steps, progress=False, recipe_options=words
  )
  methods = [of_method(method) for method in compared.methods]
  minutes = (time.perf_counter() - begun) / 60
  name = "-".join([recipe, *map(told, options), *([f"steps={steps}"] if steps else [])])
  command = " ".join(["python", "benchmarks/recipes.py", *map(shlex.quote, sys.argv[1:])])
  record = {
    "recipe": name,
    "summary": experiment.recipe.summary,
    "command": command,
    "machine": describe("scikit-learn"),
    "load": round(os.getloadavg()[1], 1),
    "minutes": round(minutes, 1),
    "seeds": seeds,
    "steps": experiment.config.steps,
    "batch_size": experiment.config.batch_size,
    "examples": dict(zip(("train", "valid", "test"), map(count, splits[:3]), strict=True)),
    "tasks": len(compared.metrics),
    "metrics": compared.metrics if len(compared.metrics) <= MANY else sorted(set(compared.metrics.values())),
    "methods": methods,
    "published": published(recipe),
  }
  path = Path(RESULTS) / f"recipe_{name}.json"
  write_json(path, record)  # first of all, whatever becomes of the baselines
  print(f"{path}\n{compared}")
  problem = problem_of(experiment, mtl.data.describe(splits.train, splits.about))
  if classical and ("targets" in splits.about or _classical.serve(splits.train, problem)):
    found = classical_scores(splits, problem)
    methods += [{"name": name, **summary({t: [v] for t, v in own.items()})} for name, own in found.items()]
    write_json(path, record)


def told(option: str) -> str:
  """An option in the name of a file: by its value, where that says enough."""
  name, _, value = option.partition("=")
  return f"{name}={value}" if value in ("True", "False") or value.isdigit() else value


def classical_scores(splits: Any, problem: mtl.Problem) -> dict[str, dict[str, float]]:
  """`{model: {task: test score}}`; of a recipe of a table the baselines of `mtl.table`, which know words."""
  if "targets" not in splits.about:  # of a table
    return _classical.scores(splits, problem.tasks, problem.inputs)
  prepared = mtl.data.table.read_preparation(splits.about)
  found = baselines(prepared, splits, problem.tasks)
  return {
    name: {task: own[task][problem.tasks[task].main_metric] for task in problem.tasks} for name, own in found.items()
  }


def of_method(method: Any) -> dict[str, Any]:
  """What is kept of a method of a comparison."""
  return {
    "name": method.name,
    **summary(method.scores),
    "delta_m": _pair(method.delta_m) if method.delta_m else None,
    "minutes": round(method.train_seconds / 60, 2),
    "parameters": method.parameters,
  }


def summary(scores: Mapping[str, Sequence[float]]) -> dict[str, Any]:
  """Mean and standard error over seeds of the mean over tasks, and of each task where they are not many."""
  found: dict[str, Any] = {"mean": _pair(np.nanmean(list(scores.values()), axis=0))}
  return found | ({"scores": {task: _pair(values) for task, values in scores.items()}} if len(scores) <= MANY else {})


def count(data: Any) -> int:
  """The number of examples, of all sources of a mixture together."""
  sources = data.sources.values() if isinstance(data, mtl.data.Mixture) else [mtl.data.as_source(data)]
  return sum(map(len, sources))


def _pair(values: Any) -> list[float | None]:
  """Mean and standard error, None where it is not a number."""
  found = [float(np.mean(values)), standard_error(list(values))]
  return [float(f"{value:.5g}") if np.isfinite(value) else None for value in found]


if __name__ == "__main__":
  tyro.cli(main)
