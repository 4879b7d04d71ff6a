"""Planning a run of a recipe: its train step compiled for accelerators that are not here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax

from mtl_jax._core.errors import UserError
from mtl_jax.data import describe
from mtl_jax.engine import Engine
from mtl_jax.experiment.config import (
  Experiment,
  RunConfig,
  batch_of,
  data_of,
  in_step,
  optimizer_of,
  problem_of,
  step_options,
)
from mtl_jax.plan import Report, open_topology, plan
from mtl_jax.shard import AnyRules
from mtl_jax.train.log import write_json


def plan_run(
  experiment: Experiment,
  topology: str,
  engines: Sequence[Engine] | None,
  mesh: str | None = None,
  rules: AnyRules = None,
) -> list[Report]:
  """What the train step of an experiment needs on a topology; its engine is not looked at.

  Args:
    experiment: The recipe and its configuration; the batch is that of all devices together.
    topology: As in `mtl_jax.plan.plan`.
    engines: As in `mtl_jax.plan.plan`.
    mesh: As in `mtl_jax.plan.plan`.
    rules: As in `fit`.

  Returns:
    One report an engine.
  """
  target = open_topology(topology)  # first of all: CPU devices can only be made before JAX starts
  config = experiment.config
  splits = data_of(experiment)
  data = describe(splits.train, splits.about)
  batch = batch_of(data, config.batch_size)
  return plan(
    in_step(problem_of(experiment, data), splits.train),
    experiment.balancer,
    optimizer_of(experiment),
    batch,
    target,
    engines,
    mesh=mesh,
    rules=rules,
    **step_options(experiment),
  )


def write_plan(path: Path, config: RunConfig, reports: Sequence[Report]) -> None:
  """Writes reports as JSON.

  Raises:
    UserError: The file cannot be written.
  """
  settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in ("engine", "engine_options", "seed")}
  try:
    write_json(path, {"config": settings, "jax": jax.__version__, "reports": [report.as_json() for report in reports]})
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror}.") from error
