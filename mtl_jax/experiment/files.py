"""How users' own files and arrays become examples of a trained model, for all who open one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.inputs import keys_read
from mtl_jax._core.npz import read_npz, write_npz
from mtl_jax._core.outputs import flat
from mtl_jax.data.arrays import leaves_of
from mtl_jax.recipes import Files, Predicted, Recipe
from mtl_jax.train import Trained


def own_files(recipe: Recipe, trained: Trained) -> Files | None:
  """How the recipe of a run reads and writes files.

  Args:
    recipe: The recipe.
    trained: The model of the run.

  Returns:
    The recipe's own way; None: it has none, and its files are arrays.
  """
  return (recipe if recipe.adapt is None else recipe.adapt(trained.data)).files


def files_of(own: Files | None, trained: Trained, path: Path, most: int | None = None) -> Files:
  """How a file of that name is read and what is predicted of it written.

  Args:
    own: As `own_files` gives it.
    trained: The model.
    path: The file; by its name it is one of arrays (`.npz`), or of the recipe's own.
    most: How many bytes the arrays of a file may be unpacked; None: any number.

  Returns:
    How.
  """
  arrays = arrays_files(trained, most)
  if own is None:
    return arrays
  # A recipe's own form of answers and pictures is of use whatever the examples came from.
  return own._replace(read=arrays.read, read_good=None) if path.suffix == ".npz" else own


def arrays_files(trained: Trained, most: int | None = None) -> Files:
  """Files of the arrays that a model reads, and of its outputs.

  Args:
    trained: The model.
    most: As in `files_of`.

  Returns:
    How they are read and written.
  """
  inputs, known = keys_read(trained.problem.inputs), trained.entries()

  def read(path: Path, tasks: Sequence[str]) -> tuple[dict[str, Any], Sequence[str]]:
    found = arrays_like(known if tasks else {key: known[key] for key in inputs}, path, inputs, most)
    return found, list(map(str, range(len(jax.tree.leaves(found)[0]))))

  def write(path: Path, predicted: Predicted) -> None:
    write_npz(path, flat(predicted.outputs))

  return Files(read, write, ".npz")


def arrays_like(known: Mapping[str, Any], file: Path, inputs: Sequence[str], most: int | None = None) -> dict[str, Any]:
  """The entries of a data set that a file holds: an array of the file for each leaf, named by its path.

  Args:
    known: The description of the entries, `mtl.data.Description.arrays`.
    file: The .npz file.
    inputs: The entries that it must hold; others, such as labels, may be missing.
    most: As in `files_of`.

  Returns:
    The entries, in the form and with the dtypes of the description.

  Raises:
    UserError: The file cannot be read or lacks an input, or an array has another shape or numbers of another kind.
  """
  paths = {key: list(leaves_of({key: entry})) for key, entry in known.items()}
  needed, others = ([path for key in paths if (key in inputs) == of for path in paths[key]] for of in (True, False))
  return entries_like(known, read_npz(file, needed, others, most), inputs)


def entries_like(known: Mapping[str, Any], arrays: Mapping[str, np.ndarray], inputs: Sequence[str]) -> dict[str, Any]:
  """The entries of which all arrays are there.

  Args:
    known: As in `arrays_like`.
    arrays: The arrays, (N, ...), by their paths.
    inputs: The entries that are inputs, for messages.

  Returns:
    As `arrays_like`.

  Raises:
    UserError: An array has another shape or numbers of another kind.
  """
  found = {}
  for key, entry in known.items():
    leaves = leaves_of({key: entry})
    if leaves.keys() <= arrays.keys():
      what = "input" if key in inputs else "array"
      values = [_like(leaf, f"{what} {path!r}", arrays[path]) for path, leaf in leaves.items()]
      found[key] = jax.tree.unflatten(jax.tree.structure(entry), values)
  return found


def _like(example: Any, what: str, values: np.ndarray) -> np.ndarray:
  """`values` in the dtype that the network was trained on, where that can hold them."""
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
