"""A run opened again: its best model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data import Description
from mtl_jax.experiment.config import Model, RunConfig, balancer_of, build, configure, engine_of
from mtl_jax.train import Metrics, init_train_state, make_evaluate, predict_all
from mtl_jax.train.checkpoint import Checkpoints, shapes_of
from mtl_jax.train.run_dir import DATA, check_tasks, read_config, read_data


class Trained(NamedTuple):
  """A finished or interrupted run, opened again.

  Attributes:
    config: Its configuration.
    data: The description of the data that it is trained on.
    model: The recipe, net and tasks, made from these two.
    params: The parameters that are best so far.
    state: The net's state that goes with them.
  """

  config: RunConfig
  data: Description
  model: Model
  params: Any
  state: Any

  def predict(self, arrays: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """What each task's `output` says of every example: `{task: {name: (N, ...)}}`.

    Args:
      arrays: The inputs, `{key: (N, ...)}`, as those trained on.

    Returns:
      The outputs.

    Raises:
      UserError: As `mtl.train.predict_all`.
    """
    return predict_all(self.model.problem, self.params, self.state, arrays)

  def evaluate(self, splits: Mapping[str, Mapping[str, Any]]) -> dict[str, Metrics]:
    """Every metric of every task on every set of examples, `{split: {task: {metric: value}}}`.

    Args:
      splits: Inputs and labels, `{split: {key: (N, ...)}}`, as those trained on.

    Returns:
      The metrics.
    """
    evaluate = make_evaluate(self.model.problem)
    return {name: evaluate(self.params, self.state, arrays) for name, arrays in splits.items()}


def open_trained(run_dir: Path, warn: Callable[[str], None]) -> Trained:
  """Opens a run directory: the model of its configuration, for data of its description, with its best parameters.

  The recipe's data are not made, and nothing is initialised. A run of an older version, which kept no description, is
  refused, and the message says how to write it: resume the run, which is at once done with one that has ended.

  Args:
    run_dir: The run directory; nothing in it is changed.
    warn: Tells of checkpoints that are damaged and left out.

  Returns:
    The run.

  Raises:
    UserError: The directory holds no run, or no checkpoint yet; the description of the data is missing or damaged.
  """
  fields = {field.name for field in dataclasses.fields(RunConfig)}
  stored = {k: tuple(v) if isinstance(v, list) else v for k, v in read_config(run_dir).items() if k in fields}
  config = configure(str(stored.pop("recipe", "")), **stored)
  data = read_data(run_dir)
  try:
    model = build(config, data)
    template = shapes_of(lambda: _checkpointed(config, data, model))
  except UserError:
    raise
  except Exception as error:  # whatever recipe and network make of data that they do not expect
    raise UserError(
      f"the model cannot be made from {run_dir / DATA} ({_first_line(error)}): if that file has been changed, delete "
      "it and resume the run (--resume), which writes it anew."
    ) from error
  with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
    found = checkpoints.restore_newest(template, warn)
  if found is None:
    raise UserError(f"the run in {run_dir} has no checkpoint yet.")
  check_tasks(run_dir, found[2], list(config.tasks))
  params, state = found[1]["best"]
  return Trained(config, data, model, params, state)


def _first_line(error: Exception) -> str:
  return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]


def _checkpointed(config: RunConfig, data: Description, model: Model) -> dict[str, Any]:
  """A tree like those that `fit` saves."""
  tx = model.recipe.optimizer(config.learning_rate, config.steps)
  example = jax.tree.map(lambda leaf: np.zeros((1, *leaf.shape), leaf.dtype), data.arrays)
  start = init_train_state(
    model.problem,
    balancer_of(config),
    tx,
    example,
    jax.random.key(0),
    engine=engine_of(config),
    frozen=config.frozen,
  )
  return {"train": start, "best": (start.params, start.state)}
