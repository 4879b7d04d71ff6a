"""Running a recipe: one training run from a configuration that fits in JSON, and opening it again."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from mtl_jax import recipes, shard
from mtl_jax._checks import check_numbers, check_once
from mtl_jax._errors import UserError, nearest
from mtl_jax._options import build_balancer, build_engine
from mtl_jax.balance import Balancer, rescale
from mtl_jax.data import check
from mtl_jax.data._arrays import as_arrays, take
from mtl_jax.net import Net
from mtl_jax.objective import objective
from mtl_jax.recipes._recipe import Recipe, Splits
from mtl_jax.tasks import Task
from mtl_jax.train._checkpoint import Checkpoints
from mtl_jax.train._evaluate import Metrics
from mtl_jax.train._finish import Nonfinite
from mtl_jax.train._fit import Fit, fit
from mtl_jax.train._log import write_json
from mtl_jax.train._programs import Programs, compile_programs
from mtl_jax.train._run_dir import check_tasks, other_steps, read_config
from mtl_jax.train._state import TrainState


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """What determines a run of a recipe; made by `configure`.

  Attributes:
    recipe: Its name.
    tasks: The tasks to train.
    steps: The number of steps.
    batch_size: Examples a step.
    learning_rate: The peak of the recipe's schedule.
    balancer: A name in `mtl.balance.names()`.
    balancer_options: As on the command line, without the prefix: `("--temperature", "1.5")`.
    scale: The scale of the balancer's weights, see `mtl.balance.rescale`.
    engine: A name in `mtl.engine.names()`; None: the cheapest exact one.
    engine_options: As on the command line, without the prefix.
    seed: Of initialisation, shuffling and dropout; the data are the recipe's own.
    accumulate: Pieces a batch is cut into for the trunk.
    dtype: What the network computes in.
    nonfinite: What happens on NaN or infinite losses.
    frozen: Regular expressions for the parameters that stay as they are.
  """

  recipe: str
  tasks: tuple[str, ...]
  steps: int
  batch_size: int
  learning_rate: float
  balancer: str = "equal"
  balancer_options: tuple[str, ...] = ()
  scale: Literal["paper", "sum", "mean"] = "paper"
  engine: str | None = None
  engine_options: tuple[str, ...] = ()
  seed: int = 0
  accumulate: int = 1
  dtype: Literal["float32", "bfloat16"] = "float32"
  nonfinite: Nonfinite = "stop"
  frozen: tuple[str, ...] = ()


def configure(recipe: str, **given: Any) -> RunConfig:
  """The configuration of a run, with the recipe's own values for the fields not given (or None, or no tasks).

  Raises:
    UserError: An unknown recipe, an unknown task or one named twice, or a number out of range.

  >>> configure("digits", steps=20).batch_size
  128
  """
  found = recipes.load(recipe)
  own = {"steps": found.steps, "batch_size": found.batch_size, "learning_rate": found.learning_rate}
  own["tasks"] = tuple(found.tasks)
  config = RunConfig(recipe, **(own | {key: value for key, value in given.items() if value not in (None, ())}))
  for name in config.tasks:
    if name not in found.tasks:
      known = ", ".join(found.tasks)
      raise UserError(f"unknown task {name!r}{nearest(name, found.tasks)}: recipe {recipe!r} has {known}.")
  check_once("tasks", config.tasks)
  check_numbers(vars(config))
  return config


class Model(NamedTuple):
  """A recipe's network and tasks, for the tasks of one run."""

  recipe: Recipe
  net: Net
  tasks: dict[str, Task]


def build(config: RunConfig) -> Model:
  """The network and tasks of a configuration."""
  recipe = recipes.load(config.recipe)
  return Model(recipe, recipe.net(config.tasks), {name: recipe.tasks[name] for name in config.tasks})


def balancer_of(config: RunConfig) -> Balancer:
  """The balancer of a configuration, on its scale."""
  return rescale(build_balancer(config.balancer, config.balancer_options), config.scale)


def step_options(config: RunConfig, model: Model) -> dict[str, Any]:
  """What `fit` and `plan` take of a configuration to make its train step, whatever engine and devices run it."""
  return {
    "inputs": model.recipe.inputs,
    "accumulate": config.accumulate,
    "compute_dtype": None if config.dtype == "float32" else config.dtype,
    "nonfinite": config.nonfinite,
    "frozen": config.frozen,
  }


def _options(config: RunConfig, model: Model, mesh: jax.sharding.Mesh | None, rules: shard.AnyRules) -> dict[str, Any]:
  engine = None if config.engine is None else build_engine(config.engine, config.engine_options)
  return {**step_options(config, model), "engine": engine, "mesh": mesh, "rules": rules}


def compile_run(
  config: RunConfig, splits: Splits, mesh: jax.sharding.Mesh | None = None, rules: shard.AnyRules = None
) -> Programs:
  """The compiled programs that all seeds of a configuration share."""
  model = build(config)
  balancer = balancer_of(config)
  tx = model.recipe.optimizer(config.learning_rate, config.steps)
  return compile_programs(model.net, model.tasks, balancer, tx, splits.train, **_options(config, model, mesh, rules))


def train_run(
  config: RunConfig,
  splits: Splits,
  *,
  run_dir: Path | None = None,
  resume: bool = False,
  mesh: jax.sharding.Mesh | None = None,
  rules: shard.AnyRules = None,
  probe: Callable[[TrainState], Mapping[str, Any]] | None = None,
  programs: Programs | None = None,
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
    probe: See `fit`.
    programs: From `compile_run`, shared between seeds.
    **fit_options: Further options of `fit`, which do not change the result.

  Returns:
    The fit, and `{task: {metric: value}}` on the test data.
  """
  model = build(config)
  check(splits.test, model.tasks, model.recipe.inputs)  # before training; `fit` checks the others
  options = _options(config, model, mesh, rules)
  programs = compile_run(config, splits, mesh, rules) if programs is None else programs
  if run_dir is not None and resume:
    _tell_schedule(config, run_dir, programs)
  result = fit(
    model.net,
    model.tasks,
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
    config=dataclasses.asdict(config),
    probe=probe,
    programs=programs,
    **options,
    **fit_options,
  )
  test = programs.evaluate(result.params, result.net_state, splits.test)
  if run_dir is not None and shard.is_first():
    write_json(run_dir / "test.json", {"best_step": result.best_step, "test": test})
  return result, test


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


def cosine_probe(config: RunConfig, splits: Splits) -> Callable[[TrainState], Mapping[str, float]]:
  """A probe of the cosines between task gradients, always on the same 256 validation examples."""
  from mtl_jax.analysis import gradient_cosines

  model = build(config)
  batch = take(as_arrays(splits.valid), slice(256))
  losses = objective(model.net, model.tasks, model.recipe.inputs, train=False)
  cosines = jax.jit(gradient_cosines(losses, config.frozen))
  return lambda state: {k: float(v) for k, v in jax.device_get(cosines(state.params, state.state, batch)).items()}
