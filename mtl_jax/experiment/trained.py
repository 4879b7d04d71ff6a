"""A run opened again: its best model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from mtl_jax._core.errors import UserError
from mtl_jax.experiment.config import Model, RunConfig, build, configure
from mtl_jax.experiment.run import compile_run
from mtl_jax.recipes import Splits
from mtl_jax.train import Programs
from mtl_jax.train.checkpoint import Checkpoints
from mtl_jax.train.run_dir import check_tasks, read_config


class Trained(NamedTuple):
  """A finished or interrupted run, opened again: its best parameters so far, and the recipe's data."""

  config: RunConfig
  model: Model
  params: Any
  state: Any
  splits: Splits
  programs: Programs


def open_trained(run_dir: Path, warn: Callable[[str], None]) -> Trained:
  """Opens a run directory.

  Raises:
    UserError: The directory holds no run, or no checkpoint yet.
  """
  fields = {field.name for field in dataclasses.fields(RunConfig)}
  stored = {k: tuple(v) if isinstance(v, list) else v for k, v in read_config(run_dir).items() if k in fields}
  config = configure(str(stored.pop("recipe", "")), **stored)
  model = build(config)
  splits = model.recipe.data(0)
  programs = compile_run(config, splits)
  start = programs.create(jax.random.key(0))
  with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
    found = checkpoints.restore_newest({"train": start, "best": (start.params, start.state)}, warn)
  if found is None:
    raise UserError(f"the run in {run_dir} has no checkpoint yet.")
  check_tasks(run_dir, found[2], list(config.tasks))
  params, state = found[1]["best"]
  return Trained(config, model, params, state, splits, programs)
