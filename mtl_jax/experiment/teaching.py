"""A recipe whose tasks learn from trained runs beside their labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mtl_jax import recipes
from mtl_jax._core.errors import UserError
from mtl_jax.compress import distilled
from mtl_jax.data import describe
from mtl_jax.experiment.config import Experiment
from mtl_jax.experiment.trained import open_trained, recipe_of
from mtl_jax.recipes import Splits
from mtl_jax.train import Trained
from mtl_jax.train.run_dir import read_config


def taught(experiment: Experiment, splits: Splits) -> tuple[Experiment, Splits]:
  """The experiment with tasks that learn from its teachers, and data with what these predict; both as they are without.

  Args:
    experiment: The experiment.
    splits: Its data.

  Returns:
    Both. What is said of the data, and so what is kept of them with the run, is as before.

  Raises:
    UserError: A teacher cannot be opened, or as in `mtl.compress.distilled`.
  """
  config = experiment.config
  if not config.teachers:
    for option in ("taught", "teacher_weight", "temperature"):
      if getattr(config, option) not in (None, ()):
        raise UserError(f"{option} is given, but does nothing without a teacher: name its run, too (--teacher).")
    return experiment, splits
  recipe = experiment.recipe
  if recipe.adapt is not None:
    recipe = dataclasses.replace(recipe.adapt(describe(splits.train, splits.about)), adapt=None)
  options: dict[str, Any] = {"weight": config.teacher_weight, "temperature": config.temperature}
  student = distilled(
    {name: recipe.tasks[name] for name in config.tasks},
    [_opened(Path(run), config.recipe) for run in config.teachers],
    splits.train,
    **{name: value for name, value in options.items() if value is not None},
    names=config.taught or None,
    inputs=recipe.inputs,
  )
  recipe = dataclasses.replace(recipe, tasks={**recipe.tasks, **student.tasks})
  return experiment._replace(recipe=recipe), splits._replace(train=student.train)


def _opened(run: Path, named: str) -> Trained:
  """The best model of a teacher's run, of a recipe of the package or of the one that the user has named."""
  kept = read_config(run).get("recipe")
  if kept not in recipes.names() and kept != named:
    raise UserError(
      f"the teacher in {run} is of a recipe of your own, {kept!r}, and this run of {named!r}: expected the same, or "
      "load it in Python, mtl.compress.distilled."
    )
  return open_trained(run, recipe_of(run, None if kept in recipes.names() else named))
