"""A directory in the layout of Hugging Face: weights as safetensors, what they belong to, and a model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from mtl_jax.export.card import readme
from mtl_jax.export.deployed import Deployed, deployed
from mtl_jax.problem import Problem
from mtl_jax.train import load, write_model


def write(model: Deployed, path: Path, batch: int | None, quantize: str | None) -> None:
  """Writes a directory that `mtl.load`, `mtl-jax predict` and `mtl-jax evaluate` open like a run.

  Args:
    model: The model.
    path: The directory.
    batch: Of no meaning: weights are for any number of examples.
    quantize: None.
  """
  write_model(model.trained, path, model.tasks)
  (path / "README.md").write_text(readme(model))


def run(model: Deployed, path: Path, arrays: Mapping[str, Any], batch: int) -> dict[str, Any]:
  """What a model says with the weights of such a directory.

  Args:
    model: The model whose net and tasks they are for.
    path: The directory.
    arrays: The inputs by their paths.
    batch: Of no meaning.

  Returns:
    The outputs by their names.
  """
  own = model.trained.problem
  again = load(path, Problem(own.net, {}, own.inputs))  # without tasks, whose calibration would be applied twice
  opened = model.trained._replace(params=again.params, state=again.state)
  return jax.jit(deployed(opened, model.tasks).function)(dict(arrays))
