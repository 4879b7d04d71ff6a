"""A run of a recipe opened again: its best model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtl_jax import recipes
from mtl_jax._core.errors import UserError
from mtl_jax.arch import Architecture
from mtl_jax.experiment.config import build, check_known
from mtl_jax.experiment.options import build_arch, build_recipe
from mtl_jax.recipes import Recipe
from mtl_jax.train import Trained, load, making_of
from mtl_jax.train.run_dir import read_config, read_data, tasks_of


def recipe_of(run_dir: Path, name: str | None = None) -> Recipe:
  """The recipe of a run, with the options that the run was started with.

  Args:
    run_dir: The run directory.
    name: As in `mtl.recipes.find`. None: the one that the run names, if it is one of the package: to open a run
      executes no code of the user's that is not asked for.

  Returns:
    The recipe.

  Raises:
    UserError: The directory holds no run; or no name is given and the run is of the user's own problem.
  """
  config = read_config(run_dir)
  found = config.get("recipe")
  if name is None and not isinstance(found, str):
    raise UserError(
      f"the run in {run_dir} names no recipe: give a file that makes its net and tasks, --recipe FILE.py."
    )
  if name is None and found not in recipes.names():
    raise UserError(f"the run in {run_dir} is of a recipe of your own, {found!r}: give it by --recipe {found}.")
  options = config.get("recipe_options") or []
  return build_recipe(str(found) if name is None else name, [str(word) for word in options])


def arch_of(run_dir: Path) -> Architecture | None:
  """The architecture that a run was started with; None: that of its recipe."""
  config = read_config(run_dir)
  name, options = config.get("arch"), config.get("arch_options") or []
  return None if name is None else build_arch(str(name), [str(word) for word in options])


def about_run(trained: Trained, recipe: Recipe) -> dict[str, Any]:
  """What a card says of the run that a model is of, beside what the model says of itself."""
  return {"run": {"recipe": trained.kept.config.get("recipe"), "summary": recipe.summary}}


def open_trained(
  run_dir: str | Path, recipe: Recipe | None = None, warn: Callable[[str], None] = warnings.warn
) -> Trained:
  """Opens a run directory: the recipe's net and tasks, for data of its description, with the best parameters.

  The recipe's data are not made, and nothing is initialised. A run of an older version, which kept no description, is
  refused, and the message says how to write it: resume the run, which is at once done with one that has ended.

  Args:
    run_dir: The run directory; nothing in it is changed.
    recipe: The recipe; None: that of the run, if it is one of the package.
    warn: As in `mtl.load`.

  Returns:
    The model.

  Raises:
    UserError: As in `recipe_of` and `mtl.load`.
  """
  run_dir = Path(run_dir)
  recipe = recipe_of(run_dir) if recipe is None else recipe
  tasks = tasks_of(run_dir)
  check_known(recipe, tasks)
  data = read_data(run_dir)
  with making_of(run_dir):
    problem = build(recipe, arch_of(run_dir), tasks, data)
  return load(run_dir, problem, warn=warn)
