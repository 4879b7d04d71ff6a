"""Running a recipe: training, the test of the best model, and the run directory they leave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtl_jax import shard
from mtl_jax._core.errors import UserError
from mtl_jax._core.inputs import Inputs, keys_read
from mtl_jax.data import Description, check, describe
from mtl_jax.data.sample import few, spec_of
from mtl_jax.experiment.config import Experiment, in_step, optimizer_of, problem_of, pruning, step_options
from mtl_jax.experiment.teaching import taught
from mtl_jax.objective import objective
from mtl_jax.recipes import Splits
from mtl_jax.train import Fit, Loop, Metrics, Programs, TrainState, calibrate, compile_programs, evaluation_size, fit
from mtl_jax.train.kept import write_calibration, write_test
from mtl_jax.train.run_dir import Resume
from mtl_jax.transfer import from_run


def _options(experiment: Experiment, mesh: jax.sharding.Mesh | None, rules: shard.AnyRules) -> dict[str, Any]:
  size, own = experiment.config.batch_size, step_options(experiment)
  return {**own, "batch_size": size, "engine": experiment.engine, "mesh": mesh, "rules": rules}


def compile_run(
  experiment: Experiment, splits: Splits, mesh: jax.sharding.Mesh | None = None, rules: shard.AnyRules = None
) -> Programs:
  """The compiled programs that all seeds of an experiment share."""
  problem = problem_of(experiment, describe(splits.train, splits.about))
  options = _options(experiment, mesh, rules)
  return compile_programs(problem, experiment.balancer, optimizer_of(experiment), splits.train, **options)


def train_run(
  experiment: Experiment,
  splits: Splits,
  *,
  run_dir: str | Path | None = None,
  resume: Resume = False,
  mesh: jax.sharding.Mesh | None = None,
  rules: shard.AnyRules = None,
  loop: Loop | None = None,
  **fit_options: Any,
) -> tuple[Fit, Metrics]:
  """Trains a recipe and tests the model that was best on the validation data.

  Args:
    experiment: The recipe and its configuration.
    splits: The recipe's data.
    run_dir: Where the run goes; `test.json`, and what calibrates the outputs, appear there at the end.
    resume: As in `fit`. A learning rate that is scheduled over the steps follows, with more steps, the new schedule
      from there on.
    mesh: See `fit`.
    rules: See `fit`.
    loop: See `fit`; its programs are from `compile_run`, shared between seeds, its description is the run's.
    **fit_options: Further options of `fit`, which do not change the result.

  Returns:
    The fit, and `{task: {metric: value}}` on the test data.
  """
  experiment, splits = taught(experiment, splits)
  problem = problem_of(experiment, describe(splits.train, splits.about))
  check(splits.test, problem.tasks, problem.inputs)  # before training; `fit` checks the others
  loop = Loop() if loop is None else loop
  programs = compile_run(experiment, splits, mesh, rules) if loop.programs is None else loop.programs
  loop = dataclasses.replace(loop, programs=programs)
  options = {"run_dir": run_dir, "resume": resume, "mesh": mesh, "rules": rules, "loop": loop}
  result = fit_run(experiment, splits, **options, **fit_options)
  test = programs.evaluate(result.params, result.net_state, splits.test)
  if run_dir is not None:
    run_dir = Path(run_dir)
    size = evaluation_size(experiment.config.batch_size, experiment.config.accumulate)
    values = calibrate(problem, result.params, result.net_state, splits.valid, batch_size=size, mesh=mesh)
    if shard.is_first():
      write_test(run_dir, result.best_step, test)
      write_calibration(run_dir, result.best_step, values)
  return result, test


def fit_run(
  experiment: Experiment,
  splits: Splits,
  *,
  run_dir: str | Path | None = None,
  resume: Resume = False,
  mesh: jax.sharding.Mesh | None = None,
  rules: shard.AnyRules = None,
  loop: Loop | None = None,
  **fit_options: Any,
) -> Fit:
  """Trains a recipe, as `train_run` does, without a look at the test data."""
  config, described = experiment.config, describe(splits.train, splits.about)
  asked = pruning(config)
  problem = problem_of(experiment, described)
  if run_dir is not None:
    _check_kept(splits.train, described, problem.inputs)
  return fit(
    problem,
    experiment.balancer,
    optimizer_of(experiment),
    splits.train,
    valid=splits.valid,
    steps=config.steps,
    seed=config.seed,
    eval_every=experiment.recipe.eval_every,
    run_dir=run_dir,
    resume=resume,
    best_from=0 if asked is None else asked.end,
    start=None if config.init_from is None else from_run(config.init_from, config.init_parts or "equal"),
    loop=dataclasses.replace(loop or Loop(), config=dataclasses.asdict(config), about=splits.about),
    **{"score": experiment.recipe.score, **_options(experiment, mesh, rules), **fit_options},
  )


def _check_kept(train: Any, described: Description, inputs: Inputs) -> None:
  """Fails where the net takes trees that a description does not keep: the run could not be opened again."""
  given = spec_of(train)
  for key in keys_read(inputs):
    tree = jax.tree.structure(given.get(key))
    if jax.tree.structure(described.arrays.get(key)) != tree:
      raise UserError(f"input {key!r} is {tree}, but a run keeps dictionaries by words, and tuples: make it of these.")


def cosine_probe(experiment: Experiment, splits: Splits) -> Callable[[TrainState], Mapping[str, float]]:
  """A probe of the cosines between task gradients: their mean over the same few validation batches, of training's size.

  Such batches fit where the training step does.
  """
  from mtl_jax.analysis import gradient_cosines

  problem = in_step(problem_of(experiment, describe(splits.train, splits.about)), splits.valid)
  batches = few(splits.valid, experiment.config.batch_size)
  cosines = jax.jit(gradient_cosines(objective(problem, train=False), experiment.config.frozen))

  def probe(state: TrainState) -> Mapping[str, float]:
    found = [jax.device_get(cosines(state.params, state.state, batch)) for batch in batches]
    return {pair: float(np.mean([each[pair] for each in found])) for pair in found[0]}

  return probe
