"""`mtl-jax evaluate` and `mtl-jax predict`: what is done with the best model of a run."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mtl_jax._core.errors import UserError
from mtl_jax._core.inputs import keys_read
from mtl_jax._core.outputs import flat
from mtl_jax.cli.output import print_metrics
from mtl_jax.cli.training import Dotted, only

if TYPE_CHECKING:
  import numpy as np

  from mtl_jax.recipes import Files, Predicted, Recipe
  from mtl_jax.train import Trained


@dataclasses.dataclass(frozen=True)
class Evaluate:
  """Test the best model of a run: every metric of every task, on the recipe's validation and test data or on a file.

  For example

    mtl-jax evaluate runs/digits-pcgrad-0
    mtl-jax evaluate runs/digits-pcgrad-0 --data more.npz
    mtl-jax evaluate runs/my-pcgrad-0 --recipe my.py
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory."""
  data: Path | None = None
  """A file to test on in place of the recipe's data: for a table one with its columns and targets, else an .npz file of
  inputs and labels, named as in `predict`, of the shapes and in the units trained on."""
  recipe: str | None = None
  """The recipe of a run of your own: my.py, my.py:FUNCTION or package.module:FUNCTION, which is never run unasked."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import data
    from mtl_jax.experiment.trained import open_trained, recipe_of
    from mtl_jax.train.run_dir import check_data

    only(dotted, [])
    recipe = recipe_of(self.run, self.recipe)
    trained = open_trained(self.run, recipe)
    problem = trained.problem
    if self.data is None:
      splits = recipe.data(0).only(list(problem.tasks))
      check_data(self.run, data.describe(splits.train, splits.about))
      sets = {"valid": splits.valid, "test": splits.test}
    else:
      arrays, _ = files_of(recipe, trained, self.data).read(self.data, tuple(problem.tasks))
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
  """The run directory."""
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
    from mtl_jax.cli.npz import check_writable
    from mtl_jax.experiment.trained import open_trained, recipe_of
    from mtl_jax.recipes import Predicted

    only(dotted, [])
    if self.output is not None:
      check_writable(self.output)
    recipe = recipe_of(self.run, self.recipe)
    trained = open_trained(self.run, recipe)
    files = files_of(recipe, trained, self.input)
    output = self.output or Path(f"predictions{files.suffix}")
    check_writable(output)
    check_asked(self, files)
    arrays, names = self._read(files)
    trained = trained.reading(arrays)
    data.check(arrays, {}, trained.problem.inputs)
    predicted = Predicted(arrays, names, trained.problem.tasks, trained.predict(arrays))
    (_arrays_files(trained) if output.suffix == ".npz" else files).write(output, predicted)
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
    raise UserError(f"--show: there is no picture of {asked.input}: it is for recipes of images, text and speech.")
  if asked.skip_bad and files.read_good is None:
    raise UserError(f"--skip-bad: {asked.input} is one file, and is read as a whole or not at all.")


def files_of(recipe: Recipe, trained: Trained, path: Path) -> Files:
  """How the recipe of a run reads and writes files: by itself, or as arrays."""
  adapted = recipe if recipe.adapt is None else recipe.adapt(trained.data)
  if adapted.files is None:
    return _arrays_files(trained)
  # A recipe's own form of answers and pictures is of use whatever the examples came from.
  arrays = _arrays_files(trained)
  return adapted.files._replace(read=arrays.read, read_good=None) if path.suffix == ".npz" else adapted.files


def _arrays_files(trained: Trained) -> Files:
  """Files of the arrays that the model reads, and of its outputs."""
  import jax

  from mtl_jax.recipes import Files

  inputs, known = keys_read(trained.problem.inputs), trained.entries()

  def read(path: Path, tasks: Sequence[str]) -> tuple[dict[str, Any], Sequence[str]]:
    found = arrays_like(known if tasks else {key: known[key] for key in inputs}, path, inputs)
    return found, list(map(str, range(len(jax.tree.leaves(found)[0]))))

  def write(path: Path, predicted: Predicted) -> None:
    from mtl_jax.cli.npz import write_npz

    write_npz(path, flat(predicted.outputs))

  return Files(read, write, ".npz")


def arrays_like(known: Mapping[str, Any], file: Path, inputs: Sequence[str]) -> dict[str, Any]:
  """The entries of a data set that a file holds: an array of the file for each leaf, named by its path.

  Args:
    known: The description of the entries, `mtl.data.Description.arrays`.
    file: The .npz file.
    inputs: The entries that it must hold; others, such as labels, may be missing.

  Returns:
    The entries, in the form and with the dtypes of the description.

  Raises:
    UserError: The file cannot be read or lacks an input, or an array has another shape or numbers of another kind.
  """
  import jax

  from mtl_jax.cli.npz import read_npz
  from mtl_jax.data.arrays import leaves_of

  parts = {key: leaves_of({key: entry}) for key, entry in known.items()}
  needed, others = ([path for key in parts if (key in inputs) == of for path in parts[key]] for of in (True, False))
  read = read_npz(file, needed, others)
  found = {}
  for key, leaves in parts.items():
    if leaves.keys() <= read.keys():
      what = "input" if key in inputs else "array"
      values = [_like(leaf, f"{what} {path!r}", read[path]) for path, leaf in leaves.items()]
      found[key] = jax.tree.unflatten(jax.tree.structure(known[key]), values)
  return found


def _like(example: Any, what: str, values: np.ndarray) -> np.ndarray:
  """`values` in the dtype that the network was trained on, where that can hold them."""
  import numpy as np

  shape, dtype = example.shape, example.dtype
  if not values.ndim or values.shape[1:] != shape:
    expected = f"(N, {', '.join(map(str, shape))})" if shape else "(N,)"
    raise UserError(f"{what} has shape {values.shape}, expected {expected}.")
  if values.dtype.kind not in "biuf":
    raise UserError(f"{what} has dtype {values.dtype}, expected {dtype}.")
  with np.errstate(all="ignore"):  # what does not fit shows below, or as infinite
    cast = values.astype(dtype)
  if np.issubdtype(dtype, np.integer) and not np.array_equal(cast, values):
    raise UserError(f"{what} has dtype {values.dtype} and values that {dtype} cannot hold, expected {dtype}.")
  return cast
