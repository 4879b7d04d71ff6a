"""`reproduce`: a run made again, and whether it says the same."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

from mtl_jax._core.errors import UserError
from mtl_jax.experiment.config import RunConfig, configure, data_of
from mtl_jax.experiment.run import train_run
from mtl_jax.experiment.trained import recipe_of
from mtl_jax.recipes import Recipe
from mtl_jax.train import Loop, best_weights
from mtl_jax.train.environment import changes, environment
from mtl_jax.train.kept import read_test
from mtl_jax.train.log import read_log
from mtl_jax.train.run_dir import RESUMED, read_config, read_environment


class Reproduced(NamedTuple):
  """What a run made again says.

  Attributes:
    scores: `{task: {metric: (before, now)}}`, on the test data.
    identical: Whether all parameters of the best model are equal to the bit.
    changed: What the two were made with that is not the same, in words.
  """

  scores: dict[str, dict[str, tuple[float, float]]]
  identical: bool
  changed: list[str]

  @property
  def worst(self) -> float:
    """The largest relative difference of a score."""
    pairs = [pair for own in self.scores.values() for pair in own.values() if not any(map(math.isnan, pair))]
    return max((abs(now - was) / max(abs(was), 1e-12) for was, now in pairs if was != now), default=0.0)


def reproduce(
  run_dir: str | Path,
  out: str | Path,
  recipe: Recipe | None = None,
  *,
  named: str | None = None,
  progress: bool = True,
) -> Reproduced:
  """Trains a run of a recipe again, from its configuration alone, and compares test scores and parameters.

  Args:
    run_dir: The run, which has ended; nothing in it is changed.
    out: The directory of the new run.
    recipe: The recipe; None: that of the run, if it is one of the package.
    named: What the user calls that recipe; teachers of the run that are of the same are opened by it.
    progress: Whether a progress bar is shown.

  Returns:
    What it says. On the same machine with the same packages it is the same to the bit.

  Raises:
    UserError: The run has not ended, went on with other settings, ended early, or is of no recipe.
  """
  run_dir = Path(run_dir)
  kept = read_config(run_dir)
  recipe = recipe_of(run_dir) if recipe is None else recipe
  before = read_test(run_dir)
  if not before:
    raise UserError(f"the run in {run_dir} has not ended, there are no test scores of it: resume it (--resume).")
  if kept.get(RESUMED):
    raise UserError(f"the run in {run_dir} went on with other settings ({RESUMED} in config.json): it was not one run.")
  steps = max((line["step"] for line in read_log(run_dir)), default=0)
  if steps != kept["fit"]["steps"]:
    raise UserError(
      f"the run in {run_dir} ended after {steps} of {kept['fit']['steps']} steps: run that command again, with its "
      "--patience, to compare."
    )
  fields = {field.name for field in dataclasses.fields(RunConfig)}
  given: dict[str, Any] = {
    name: tuple(value) if isinstance(value, list) else value for name, value in kept.items() if name in fields
  }
  given.pop("recipe")
  experiment = configure(recipe, **given)
  if named is not None:
    experiment = experiment._replace(config=dataclasses.replace(experiment.config, recipe=named))
  loop = Loop(title=f"{recipe.name} again")
  _, test = train_run(experiment, data_of(experiment), run_dir=Path(out), loop=loop, progress=progress)
  scores = {
    task: {metric: (value, test[task][metric]) for metric, value in own.items() if metric in test[task]}
    for task, own in before.items()
  }
  old, new = best_weights(run_dir), best_weights(Path(out))
  same = old.keys() == new.keys() and all((old[path] == new[path]).all() for path in old)
  return Reproduced(scores, bool(same), changes(read_environment(run_dir), environment()))
