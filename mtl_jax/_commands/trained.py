"""`mtl-jax evaluate` and `mtl-jax predict`: what is done with the best model of a run."""

from __future__ import annotations

import dataclasses
import warnings
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
  """An .npz file with the recipe's input arrays (for example `x`)."""
  output: Path = Path("predictions.npz")
  """The .npz file to write: arrays named <task>.<output>."""

  def execute(self, own: Own) -> None:
    """Runs the command."""
    import numpy as np

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
    for key in {inputs} if isinstance(inputs, str) else set(inputs.values()):
      if key not in arrays:
        known = ", ".join(map(repr, arrays))
        raise UserError(f"{self.input} has no array {key!r}, only {known}{nearest(key, arrays)}.")
      expected = trained.splits.test[key].shape[1:]
      if arrays[key].shape[1:] != expected or not len(arrays[key]):
        raise UserError(f"input {key!r} has shape {arrays[key].shape}, expected (N, {', '.join(map(str, expected))}).")
    outputs = predict_all(model.net, model.tasks, trained.params, trained.state, arrays, inputs)
    flat: dict[str, Any] = {f"{task}.{name}": value for task, named in outputs.items() for name, value in named.items()}
    np.savez(self.output, **flat)
    print(f"{self.output}: " + ", ".join(f"{name} {value.shape}" for name, value in flat.items()))
