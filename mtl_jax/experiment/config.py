"""A run of a recipe as a configuration that fits in JSON, and what it stands for."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

from mtl_jax import recipes
from mtl_jax._core.checks import check_numbers, check_once
from mtl_jax._core.errors import UserError, nearest
from mtl_jax.balance import Balancer, rescale
from mtl_jax.data import Description
from mtl_jax.engine import Engine
from mtl_jax.experiment.options import build_balancer, build_engine
from mtl_jax.problem import Problem
from mtl_jax.recipes import Recipe
from mtl_jax.train import Nonfinite


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

  Args:
    recipe: A name in `mtl_jax.recipes.names()`.
    given: Fields of `RunConfig`.

  Returns:
    The configuration.

  Raises:
    UserError: An unknown recipe, an unknown task or one named twice, or a number out of range.

  >>> configure("digits", steps=20).batch_size
  128
  """
  found = recipes.load(recipe)
  defaults = {"steps": found.steps, "batch_size": found.batch_size, "learning_rate": found.learning_rate}
  defaults["tasks"] = tuple(found.tasks)
  config = RunConfig(recipe, **(defaults | {key: value for key, value in given.items() if value not in (None, ())}))
  for name in config.tasks:
    if name not in found.tasks:
      known = ", ".join(found.tasks)
      raise UserError(f"unknown task {name!r}{nearest(name, found.tasks)}: recipe {recipe!r} has {known}.")
  check_once("tasks", config.tasks)
  check_numbers(vars(config))
  return config


class Model(NamedTuple):
  """A recipe, and its network and tasks for the tasks of one run."""

  recipe: Recipe
  problem: Problem


def build(config: RunConfig, data: Description) -> Model:
  """The network and tasks of a configuration, for data of this description; the data themselves are not needed."""
  recipe = recipes.load(config.recipe)
  recipe = recipe if recipe.adapt is None else recipe.adapt(data)
  tasks = {name: recipe.tasks[name] for name in config.tasks}
  return Model(recipe, Problem(recipe.net(config.tasks), tasks, recipe.inputs))


def balancer_of(config: RunConfig) -> Balancer:
  """The balancer of a configuration, on its scale."""
  return rescale(build_balancer(config.balancer, config.balancer_options), config.scale)


def engine_of(config: RunConfig) -> Engine | None:
  """The engine of a configuration, if it names one."""
  return None if config.engine is None else build_engine(config.engine, config.engine_options)


def step_options(config: RunConfig) -> dict[str, Any]:
  """What `fit` and `plan` take of a configuration to make its train step, whatever engine and devices run it."""
  return {
    "accumulate": config.accumulate,
    "compute_dtype": None if config.dtype == "float32" else config.dtype,
    "nonfinite": config.nonfinite,
    "frozen": config.frozen,
  }
