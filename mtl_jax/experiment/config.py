"""A run of a recipe as a configuration that fits in JSON, and what it stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import optax

from mtl_jax._core.checks import check_numbers, check_once
from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.inputs import initial_input, input_keys
from mtl_jax.arch import Architecture
from mtl_jax.balance import Balancer, rescale
from mtl_jax.compress import pruned
from mtl_jax.data import Description, as_mixture
from mtl_jax.data.views import entries_of
from mtl_jax.engine import Engine
from mtl_jax.experiment.options import build_arch, build_balancer, build_engine, build_recipe
from mtl_jax.problem import Problem
from mtl_jax.recipes import Recipe, Splits
from mtl_jax.train import Nonfinite


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """What determines a run of a recipe; made by `configure`.

  Attributes:
    recipe: Its name, as in `mtl.recipes.find`; that of `Recipe.name`, where a recipe itself is given.
    tasks: The tasks to train.
    steps: The number of steps.
    batch_size: Examples a step.
    learning_rate: The peak of the recipe's schedule.
    balancer: A name in `mtl.balance.names()`.
    balancer_options: As on the command line, without the prefix: `("--temperature", "1.5")`.
    scale: The scale of the balancer's weights, see `mtl.balance.rescale`.
    engine: A name in `mtl.engine.names()`; None: the cheapest exact one.
    engine_options: As on the command line, without the prefix.
    arch: A name in `mtl.arch.names()`; None: the recipe's own.
    arch_options: As on the command line, without the prefix.
    seed: Of initialisation, shuffling and dropout; the data are the recipe's own.
    accumulate: Pieces a batch is cut into for the trunk.
    dtype: What the network computes in.
    nonfinite: What happens on NaN or infinite losses.
    frozen: Regular expressions for the parameters that stay as they are.
    prune: The share of the trunk's weights that are zero in the end, see `pruning`; None: none are set to zero.
    init_from: The directory of a run whose best model is begun with; a run that goes on does not need it.
    init_parts: Which parts of it, see `mtl.transfer.from_run`; None: all that are equal.
    teachers: The directories of runs that the tasks learn from beside their labels, see `mtl.compress.distilled`. A run
      that goes on needs them, too.
    taught: The tasks that do; none: all.
    teacher_weight: The weight of what they predict, from 0 to 1; None: 0.5.
    temperature: That of their and the model's probabilities; None: 2.
    recipe_options: As on the command line, without the prefix: `("--num-pairs", "500")`.
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
  arch: str | None = None
  arch_options: tuple[str, ...] = ()
  seed: int = 0
  accumulate: int = 1
  dtype: Literal["float32", "bfloat16"] = "float32"
  nonfinite: Nonfinite = "stop"
  frozen: tuple[str, ...] = ()
  prune: float | None = None
  init_from: str | None = None
  init_parts: Literal["equal", "trunk"] | None = None
  teachers: tuple[str, ...] = ()
  taught: tuple[str, ...] = ()
  teacher_weight: float | None = None
  temperature: float | None = None
  recipe_options: tuple[str, ...] = ()


class Experiment(NamedTuple):
  """A configuration with what its names stand for.

  Attributes:
    config: The configuration, which fits in JSON.
    recipe: The recipe.
    balancer: The balancer, on its scale.
    engine: The engine; None: the cheapest exact one.
    arch: The architecture; None: the recipe's own.
  """

  config: RunConfig
  recipe: Recipe
  balancer: Balancer
  engine: Engine | None
  arch: Architecture | None = None


def configure(recipe: str | Recipe, **given: Any) -> Experiment:
  """The experiment of a recipe, with the recipe's own values for the fields not given (or None, or no tasks).

  Args:
    recipe: The recipe, or its name, as in `mtl.recipes.find`.
    **given: Fields of `RunConfig`.

  Returns:
    The experiment.

  Raises:
    UserError: An unknown recipe, option, balancer or engine; an unknown task or one named twice; a number out of range.

  >>> configure("digits", steps=20).config.batch_size
  128
  """
  known = [field.name for field in dataclasses.fields(RunConfig)]
  for option in given:
    if option not in known:
      raise UserError(f"unknown option {option!r}{nearest(option, known)}: choose from {', '.join(known[1:])}.")
  found = recipe if isinstance(recipe, Recipe) else build_recipe(recipe, given.get("recipe_options", ()))
  defaults = {"steps": found.steps, "batch_size": found.batch_size, "learning_rate": found.learning_rate}
  defaults["tasks"] = tuple(found.tasks)
  name = found.name if isinstance(recipe, Recipe) else recipe
  config = RunConfig(name, **(defaults | {key: value for key, value in given.items() if value not in (None, ())}))
  check_known(found, config.tasks)
  check_once("tasks", config.tasks)
  check_numbers(vars(config))
  balancer = rescale(build_balancer(config.balancer, config.balancer_options), config.scale)
  engine = None if config.engine is None else build_engine(config.engine, config.engine_options)
  arch = None if config.arch is None else build_arch(config.arch, config.arch_options)
  return Experiment(config, found, balancer, engine, arch)


def check_known(recipe: Recipe, tasks: Sequence[str]) -> None:
  """Raises a `UserError` for a task that the recipe does not have."""
  for name in tasks:
    if name not in recipe.tasks:
      known = ", ".join(recipe.tasks)
      raise UserError(f"unknown task {name!r}{nearest(name, recipe.tasks)}: recipe {recipe.name!r} has {known}.")


def problem_of(experiment: Experiment, data: Description) -> Problem:
  """The network and tasks of an experiment, for data of this description; the data themselves are not needed."""
  return build(experiment.recipe, experiment.arch, experiment.config.tasks, data)


def data_of(experiment: Experiment) -> Splits:
  """The examples of the recipe for the tasks of an experiment."""
  return experiment.recipe.data(0).only(experiment.config.tasks)


def in_step(problem: Problem, data: Any) -> Problem:
  """The problem as a step on such data sees it: tasks of a mixture read the entries of their own source."""
  mixed = as_mixture(data, problem.tasks, problem.inputs)
  if mixed is None:
    return problem
  return Problem(problem.net, *mixed.through(problem.tasks, problem.inputs, filled=False))


def build(recipe: Recipe, arch: Architecture | None, tasks: Sequence[str], data: Description) -> Problem:
  """The network and tasks of a recipe, joined by an architecture; None: the recipe's own.

  Raises:
    UserError: An architecture for a recipe that gives a finished net.
  """
  adapted = recipe if recipe.adapt is None else recipe.adapt(data)
  return Problem(adapted.network(tasks, arch), {name: adapted.tasks[name] for name in tasks}, adapted.inputs)


def batch_of(data: Description, count: int) -> Any:
  """The shapes of a batch of `count` examples."""
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), data.arrays)


def example_of(problem: Problem, data: Description, count: int) -> Any:
  """The shapes of the input in a batch of `count` examples; of the first, where tasks have inputs of their own."""
  batch = batch_of(data, count)
  return initial_input(input_keys(problem.tasks, problem.inputs), lambda task: entries_of(batch, task))


class Pruning(NamedTuple):
  """How many of the weights of a run are pruned, as `mtl.compress.pruned` has it.

  Attributes:
    sparsity: The share of zeros in the end.
    begin: The steps before.
    end: The step from which on the share is that.
    every: Steps between prunings.
  """

  sparsity: float
  begin: int
  end: int
  every: int


def pruning(config: RunConfig) -> Pruning | None:
  """The pruning of a run, from a tenth of its steps to three quarters, at every hundredth; None: it has none.

  >>> pruning(configure("digits", steps=1000, prune=0.8).config)
  Pruning(sparsity=0.8, begin=100, end=750, every=10)
  """
  if config.prune is None:
    return None
  steps = config.steps
  return Pruning(config.prune, steps // 10, max(steps // 10 + 1, 3 * steps // 4), max(1, steps // 100))


def optimizer_of(experiment: Experiment) -> optax.GradientTransformation:
  """The recipe's optimizer, which prunes where the experiment asks for it; tables that are read by rows stay whole."""
  config, recipe = experiment.config, experiment.recipe
  tx, asked = recipe.optimizer(config.learning_rate, config.steps), pruning(config)
  return tx if asked is None else pruned(tx, **asked._asdict(), but=tuple(recipe.sparse or ()))


def step_options(experiment: Experiment) -> dict[str, Any]:
  """What `fit` and `plan` take of an experiment to make its train step, whatever engine and devices run it."""
  config = experiment.config
  return {
    "accumulate": config.accumulate,
    "compute_dtype": None if config.dtype == "float32" else config.dtype,
    "nonfinite": config.nonfinite,
    "frozen": config.frozen,
    "sparse": experiment.recipe.sparse,
    "transform": experiment.recipe.transform,
  }
