"""`mtl-jax evaluate` and `mtl-jax predict`: what is done with the best model of a run."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from mtl_jax._commands._training import Own, only
from mtl_jax._errors import UserError, nearest
from mtl_jax._output import print_metrics


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
    from mtl_jax.recipes._run import open_trained

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
  """An .npz file with the recipe's input arrays (for example `x`; parts of an input by their paths, `x/image`)."""
  output: Path = Path("predictions.npz")
  """The .npz file to write: arrays named <task>.<output>."""

  def execute(self, own: Own) -> None:
    """Runs the command."""
    import numpy as np

    from mtl_jax._inputs import keys_read
    from mtl_jax.recipes._run import open_trained
    from mtl_jax.train import predict_all

    only(own, [])
    try:
      with np.load(self.input, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError) as error:
      raise UserError(f"cannot read {self.input} as .npz: {error}") from error
    trained = open_trained(self.run, warnings.warn)
    model = trained.model
    inputs = model.recipe.inputs
    known = {key: trained.splits.test[key] for key in keys_read(inputs)}
    found = inputs_like(known, arrays, self.input)
    outputs = predict_all(model.net, model.tasks, trained.params, trained.state, found, inputs)
    flat: dict[str, Any] = {f"{task}.{name}": value for task, named in outputs.items() for name, value in named.items()}
    np.savez(self.output, **flat)
    print(f"{self.output}: " + ", ".join(f"{name} {value.shape}" for name, value in flat.items()))


def inputs_like(known: Mapping[str, Any], arrays: Mapping[str, Any], file: Path) -> dict[str, Any]:
  """The inputs that a file holds, in the form of known ones: an array of the file for each leaf, named by its path.

  Raises:
    UserError: The file lacks an array, or its shape is another.
  """
  import jax

  from mtl_jax.data._arrays import as_arrays, leaves_of

  found = {}
  for key, entry in as_arrays(known).items():
    parts = leaves_of({key: entry})
    for name, part in parts.items():
      if name not in arrays:
        raise UserError(f"{file} has no array {name!r}, only {', '.join(map(repr, arrays))}{nearest(name, arrays)}.")
      shape, expected = arrays[name].shape, part.shape[1:]
      if shape[1:] != expected or not shape or not shape[0]:
        raise UserError(f"input {name!r} has shape {shape}, expected (N, {', '.join(map(str, expected))}).")
    found[key] = jax.tree.unflatten(jax.tree.structure(entry), [arrays[name] for name in parts])
  return found
