"""`mtl-jax evaluate` and `mtl-jax predict`: what is done with the best model of a run."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mtl_jax._core.errors import UserError
from mtl_jax.cli.output import print_metrics
from mtl_jax.cli.training import Own, only

if TYPE_CHECKING:
  import numpy as np


@dataclasses.dataclass(frozen=True)
class Evaluate:
  """Test the best model of a run: every metric of every task, on validation and test data.

  For example

    mtl-jax evaluate runs/digits-pcgrad-0
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory."""

  def execute(self, own: Own) -> None:
    """Runs the command."""
    from mtl_jax.experiment.trained import open_trained

    only(own, [])
    trained = open_trained(self.run, warnings.warn)
    splits = {"valid": trained.splits.valid, "test": trained.splits.test}
    print_metrics({k: trained.programs.evaluate(trained.params, trained.state, v) for k, v in splits.items()})


@dataclasses.dataclass(frozen=True)
class Predict:
  """Predict with the best model of a run.

  For example

    mtl-jax predict runs/digits-pcgrad-0 --input images.npz --output predictions.npz
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory."""
  input: Path
  """An .npz file with the recipe's input arrays (for example `x`; parts of an input by their paths, `x/image`), of the
  shapes and in the units trained on."""
  output: Path = Path("predictions.npz")
  """The .npz file to write, by just this name: arrays named <task>.<output>."""

  def execute(self, own: Own) -> None:
    """Runs the command."""
    from mtl_jax import data
    from mtl_jax._core.inputs import keys_read
    from mtl_jax.cli.npz import check_writable, write_npz
    from mtl_jax.experiment.trained import open_trained
    from mtl_jax.train import predict_all

    only(own, [])
    check_writable(self.output)
    trained = open_trained(self.run, warnings.warn)
    model = trained.model
    inputs = model.recipe.inputs
    arrays = inputs_like({key: trained.splits.test[key] for key in keys_read(inputs)}, self.input)
    data.check(arrays, {}, inputs)
    outputs = predict_all(model.net, model.tasks, trained.params, trained.state, arrays, inputs)
    flat: dict[str, Any] = {f"{task}.{name}": value for task, named in outputs.items() for name, value in named.items()}
    write_npz(self.output, flat)
    print(f"{self.output}: " + ", ".join(f"{name} {value.shape}" for name, value in flat.items()))


def inputs_like(known: Mapping[str, Any], file: Path) -> dict[str, Any]:
  """The inputs that a file holds, in the form of known ones: an array of the file for each leaf, named by its path.

  Raises:
    UserError: The file cannot be read or lacks an array, or one has another shape or numbers of another kind.
  """
  import jax

  from mtl_jax.cli.npz import read_npz
  from mtl_jax.data.arrays import as_arrays, leaves_of

  entries = as_arrays(known)
  parts = leaves_of(entries)
  read = read_npz(file, list(parts))
  found = {name: _like(part, name, read[name]) for name, part in parts.items()}
  return {
    key: jax.tree.unflatten(jax.tree.structure(entry), [found[name] for name in leaves_of({key: entry})])
    for key, entry in entries.items()
  }


def _like(example: np.ndarray, key: str, values: np.ndarray) -> np.ndarray:
  """`values` in the dtype that the network was trained on, where that can hold them."""
  import numpy as np

  shape, dtype = example.shape[1:], example.dtype
  if not values.ndim or values.shape[1:] != shape:
    raise UserError(f"input {key!r} has shape {values.shape}, expected (N, {', '.join(map(str, shape))}).")
  if values.dtype.kind not in "biuf":
    raise UserError(f"input {key!r} has dtype {values.dtype}, expected {dtype}.")
  with np.errstate(all="ignore"):  # what does not fit shows below, or as infinite
    cast = values.astype(dtype)
  if np.issubdtype(dtype, np.integer) and not np.array_equal(cast, values):
    raise UserError(f"input {key!r} has dtype {values.dtype} and values that {dtype} cannot hold, expected {dtype}.")
  return cast
