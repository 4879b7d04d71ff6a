"""Running a recipe: training, the test of the best model, and the run directory they leave."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from mtl_jax import recipes, shard
from mtl_jax._core.errors import UserError
from mtl_jax._core.inputs import Inputs, keys_read
from mtl_jax.data import Description, check, describe
from mtl_jax.data.arrays import as_arrays, take
from mtl_jax.experiment.config import RunConfig, balancer_of, build, engine_of, step_options
from mtl_jax.objective import objective
from mtl_jax.recipes import Splits
from mtl_jax.train import Fit, Loop, Metrics, Programs, TrainState, compile_programs, fit
from mtl_jax.train.log import write_json
from mtl_jax.train.run_dir import other_steps


def _options(config: RunConfig, mesh: jax.sharding.Mesh | None, rules: shard.AnyRules) -> dict[str, Any]:
  return {**step_options(config), "engine": engine_of(config), "mesh": mesh, "rules": rules}


def compile_run(
  config: RunConfig, splits: Splits, mesh: jax.sharding.Mesh | None = None, rules: shard.AnyRules = None
) -> Programs:
  """The compiled programs that all seeds of a configuration share."""
  model = build(config, describe(splits.train, splits.about))
  balancer = balancer_of(config)
  tx = model.recipe.optimizer(config.learning_rate, config.steps)
  return compile_programs(model.problem, balancer, tx, splits.train, **_options(config, mesh, rules))


def train_run(
  config: RunConfig,
  splits: Splits,
  *,
  run_dir: Path | None = None,
  resume: bool = False,
  mesh: jax.sharding.Mesh | None = None,
  rules: shard.AnyRules = None,
  loop: Loop | None = None,
  **fit_options: Any,
) -> tuple[Fit, Metrics]:
  """Trains a recipe and tests the model that was best on the validation data.

  Args:
    config: The configuration.
    splits: The recipe's data.
    run_dir: Where the run goes; `test.json` appears there at the end.
    resume: Go on with the run in `run_dir`, also with more steps. A learning rate that is scheduled over the steps then
      follows the new schedule from there on, and a warning says so.
    mesh: See `fit`.
    rules: See `fit`.
    loop: See `fit`; its programs are from `compile_run`, shared between seeds, its description is the run's.
    **fit_options: Further options of `fit`, which do not change the result.

  Returns:
    The fit, and `{task: {metric: value}}` on the test data.
  """
  described = describe(splits.train, splits.about)
  model = build(config, described)
  if run_dir is not None:
    _check_kept(splits.train, described, model.problem.inputs)
  check(splits.test, model.problem.tasks, model.problem.inputs)  # before training; `fit` checks the others
  options = _options(config, mesh, rules)
  loop = Loop() if loop is None else loop
  programs = compile_run(config, splits, mesh, rules) if loop.programs is None else loop.programs
  if run_dir is not None and resume:
    _tell_schedule(config, run_dir, programs)
  result = fit(
    model.problem,
    balancer_of(config),
    model.recipe.optimizer(config.learning_rate, config.steps),
    splits.train,
    valid=splits.valid,
    steps=config.steps,
    batch_size=config.batch_size,
    seed=config.seed,
    eval_every=model.recipe.eval_every,
    run_dir=run_dir,
    resume=resume,
    loop=dataclasses.replace(loop, config=dataclasses.asdict(config), about=splits.about, programs=programs),
    **options,
    **fit_options,
  )
  test = programs.evaluate(result.params, result.net_state, splits.test)
  if run_dir is not None and shard.is_first():
    write_json(run_dir / "test.json", {"best_step": result.best_step, "test": test})
  return result, test


def _check_kept(train: Mapping[str, Any], described: Description, inputs: Inputs) -> None:
  """Fails where the net takes trees that a description does not keep: the run could not be opened again."""
  given = as_arrays(train)
  for key in keys_read(inputs):
    tree = jax.tree.structure(given.get(key))
    if jax.tree.structure(described.arrays.get(key)) != tree:
      raise UserError(f"input {key!r} is {tree}, but a run keeps dictionaries by words, and tuples: make it of these.")


def _tell_schedule(config: RunConfig, run_dir: Path, programs: Programs) -> None:
  """Says so where a run goes on to another number of steps and its learning rate depends on that."""
  changed = other_steps(run_dir, dataclasses.asdict(config))
  if changed is None:
    return
  done, before = changed
  params = jax.eval_shape(programs.create, jax.eval_shape(lambda: jax.random.key(0))).params

  def update_of(steps: int) -> str:
    tx = recipes.load(config.recipe).optimizer(config.learning_rate, steps)
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
      return str(jax.make_jaxpr(tx.update)(params, jax.eval_shape(tx.init, params), params))

  if update_of(before) != update_of(config.steps):
    told = f"the learning rate was scheduled over {before} steps and is over {config.steps} steps from step {done} on."
    warnings.warn(told, stacklevel=3)


def cosine_probe(config: RunConfig, splits: Splits) -> Callable[[TrainState], Mapping[str, float]]:
  """A probe of the cosines between task gradients, always on the same 256 validation examples."""
  from mtl_jax.analysis import gradient_cosines

  model = build(config, describe(splits.train, splits.about))
  batch = take(as_arrays(splits.valid), slice(256))
  losses = objective(model.problem, train=False)
  cosines = jax.jit(gradient_cosines(losses, config.frozen))
  return lambda state: {k: float(v) for k, v in jax.device_get(cosines(state.params, state.state, batch)).items()}
