"""`mtl-jax evaluate` and `mtl-jax predict`: what is done with the best model of a run."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mtl_jax._core.errors import UserError
from mtl_jax._core.outputs import flat
from mtl_jax.cli.output import print_metrics
from mtl_jax.cli.training import Dotted, only

if TYPE_CHECKING:
  from mtl_jax.recipes import Files


@dataclasses.dataclass(frozen=True)
class Evaluate:
  """Test the best model of a run: every metric of every task, on the recipe's validation and test data or on a file.

  For example

    mtl-jax evaluate runs/digits-pcgrad-0
    mtl-jax evaluate runs/digits-pcgrad-0 --data more.npz
    mtl-jax evaluate runs/my-pcgrad-0 --recipe my.py
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory, or that of a model exported as safetensors."""
  data: Path | None = None
  """A file to test on in place of the recipe's data: for a table one with its columns and targets, else an .npz file of
  inputs and labels, named as in `predict`, of the shapes and in the units trained on."""
  recipe: str | None = None
  """The recipe of a run of your own: my.py, my.py:FUNCTION or package.module:FUNCTION, which is never run unasked."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import data
    from mtl_jax.experiment.files import files_of, own_files
    from mtl_jax.experiment.trained import open_trained, recipe_of
    from mtl_jax.train.run_dir import check_data, tasks_of

    only(dotted, [])
    recipe = recipe_of(self.run, self.recipe)
    trained = open_trained(self.run, recipe)
    problem = trained.problem
    if self.data is None:
      splits = recipe.data(0).only(tasks_of(self.run))  # what was trained on, though some of it may not be kept
      check_data(self.run, data.describe(splits.train, splits.about))
      splits = splits.only(list(problem.tasks))
      sets = {"valid": splits.valid, "test": splits.test}
    else:
      files = files_of(own_files(recipe, trained), trained, self.data)
      arrays, _ = files.read(self.data, tuple(problem.tasks))
      sets = {self.data.name: arrays}
      data.check(sets[self.data.name], problem.tasks, problem.inputs)
    print_metrics(trained.evaluate(sets), problem.tasks)


@dataclasses.dataclass(frozen=True)
class Predict:
  """Predict with the best model of a run.

  For example

    mtl-jax predict runs/digits-pcgrad-0 --input images.npz --output predictions.npz
    mtl-jax predict runs/my-pcgrad-0 --recipe my.py --input images.npz
    mtl-jax predict runs/people --input new.csv --output answers.csv
    mtl-jax predict runs/detect_classify-equal-0 --input photos/ --show 8
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory, or that of a model exported as safetensors."""
  input: Path
  """For a table a file with its columns, in any order; for images or sounds a folder or file of them; for text a file
  with a sentence per line; else, and for any recipe, an .npz file with the recipe's input arrays (for example `x`;
  parts of an input by their paths, `x/image`), of the shapes and in the units trained on."""
  output: Path | None = None
  """The file to write, by just this name (default: predictions.npz, of a table .csv, of images .jsonl): for a table a
  column for each target and its probabilities or interval, for images a line of JSON each, else, and wherever the name
  ends in .npz, arrays named <task>.<output>."""
  show: int | None = None
  """Also show that many of the first examples and what is predicted of them: a picture beside the output, or, of text
  and speech, lines in the terminal."""
  skip_bad: bool = False
  """Leave out examples that cannot be read, such as damaged images or empty lines, and count them."""
  recipe: str | None = None
  """The recipe of a run of your own: my.py, my.py:FUNCTION or package.module:FUNCTION, which is never run unasked."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import data
    from mtl_jax._core.npz import check_writable
    from mtl_jax.experiment.files import arrays_files, files_of, own_files
    from mtl_jax.experiment.trained import open_trained, recipe_of
    from mtl_jax.recipes import Predicted

    only(dotted, [])
    if self.output is not None:
      check_writable(self.output)
    recipe = recipe_of(self.run, self.recipe)
    trained = open_trained(self.run, recipe)
    files = files_of(own_files(recipe, trained), trained, self.input)
    output = self.output or Path(f"predictions{files.suffix}")
    check_writable(output)
    check_asked(self, files)
    arrays, names = self._read(files)
    trained = trained.reading(arrays)
    data.check(arrays, {}, trained.problem.inputs)
    predicted = Predicted(arrays, names, trained.problem.tasks, trained.predict(arrays))
    (arrays_files(trained) if output.suffix == ".npz" else files).write(output, predicted)
    print(f"{output}: " + ", ".join(f"{name} {value.shape}" for name, value in flat(predicted.outputs).items()))
    if self.show is not None and files.show is not None:
      picture = output.with_suffix(".png")
      files.show(picture, predicted.first(self.show))
      print(f"{picture}: the first {len(names[: self.show])} examples")
    if self.show is not None and files.tell is not None:
      print(files.tell(predicted.first(self.show)))

  def _read(self, files: Files) -> tuple[dict[str, Any], Sequence[str]]:
    if not self.skip_bad or files.read_good is None:
      return files.read(self.input, ())
    bad: list[str] = []
    found = files.read_good(self.input, (), bad.append)
    for told in bad:
      print(f"mtl-jax: {told}", file=sys.stderr)
    print(f"{len(bad)} of {len(bad) + len(found[1])} left out")
    return found


def check_asked(asked: Predict, files: Files) -> None:
  """Raises a `UserError` where a picture, or leaving out what is damaged, is asked of files that cannot do it."""
  if asked.show is not None and asked.show < 1:
    raise UserError(f"--show is {asked.show}, expected at least 1.")
  if asked.show is not None and files.show is None and files.tell is None:
    raise UserError(f"--show: examples of {asked.input} cannot be shown: read the file that is written.")
  if asked.skip_bad and files.read_good is None:
    raise UserError(f"--skip-bad: {asked.input} is one file, and is read as a whole or not at all.")
