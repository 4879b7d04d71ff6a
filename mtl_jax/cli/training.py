"""What commands share: the options of training, and those of the parts that a command names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mtl_jax._core.errors import UserError, nearest

Dotted = Mapping[str, tuple[str, ...]]
"""The options of the parts that a command names, for example `{"balancer": ("--window", "50")}`."""

Recipe = tyro.conf.Positional[str]
"""The argument that names a recipe."""


@dataclasses.dataclass(frozen=True)
class Training:
  """Options that all training commands share."""

  recipe: Annotated[Recipe, tyro.conf.arg(metavar="RECIPE")]
  """What to train on: one of those that `mtl-jax recipes` lists, or of your own: my.py (its function `recipe`),
  my.py:FUNCTION or package.module:FUNCTION. The function's parameters are options, as --recipe.OPTION."""
  tasks: tuple[str, ...] = ()
  """Train these tasks only (default: all of the recipe's)."""
  scale: Literal["paper", "sum", "mean"] = "paper"
  """On which scale the balancer's weights are: its paper's, or that where equal weighting is all ones or 1 / T."""
  engine: str | None = None
  """How task gradients are computed (default: the cheapest exact engine); its own options as --engine.OPTION."""
  arch: str | None = None
  """How trunk and heads are joined, such as mmoe (default: the recipe's own); its own options as --arch.OPTION."""
  steps: int | None = None
  """Steps to train (default: the recipe's)."""
  batch_size: int | None = None
  """Examples a step (default: the recipe's)."""
  learning_rate: float | None = None
  """Peak of the learning-rate schedule (default: the recipe's)."""
  accumulate: int = 1
  """Cut each batch into this many pieces to save memory; the result is that of the whole batch."""
  dtype: Literal["float32", "bfloat16"] = "float32"
  """What the network computes in; parameters and Gram matrices stay float32."""
  frozen: tuple[str, ...] = ()
  """Regular expressions for the parameters that stay as they are, such as shared/Conv_0."""
  prune: float | None = None
  """Set this share of the trunk's weights to zero while training, such as 0.8: the smallest ones, more and more of them
  between a tenth and three quarters of the steps. Files of the model can then be packed smaller; it is not faster."""
  nonfinite: Literal["stop", "skip", "drop", "rollback", "ignore"] = "stop"
  """On a NaN or infinite loss: stop with an error, skip the step, drop the task from the step, roll back to the newest
  checkpoint with half the learning rate, or do not check."""


@dataclasses.dataclass(frozen=True)
class Beginning(Training):
  """Options of the commands that begin runs."""

  init_from: str | None = None
  """A run directory whose best model is begun with, where names and shapes are equal."""
  init_parts: Literal["equal", "trunk"] | None = None
  """What to take of it: every equal array (the default), or the trunk, which must then be equal as a whole."""


def options_of(command: Training, dotted: Dotted) -> dict[str, Any]:
  """What the options of a command say of the configuration of a run."""
  shared = Beginning if isinstance(command, Beginning) else Training
  given = {field.name: getattr(command, field.name) for field in dataclasses.fields(shared)}
  return given | options_of_parts(dotted, "recipe", "balancer", "engine", "arch")


def options_of_parts(dotted: Dotted, *parts: str) -> dict[str, tuple[str, ...]]:
  """The options of some parts, as the configuration of a run calls them."""
  return {f"{part}_options": dotted.get(part, ()) for part in parts}


def short(recipe: str) -> str:
  """A recipe's name as part of a directory's.

  >>> short("digits"), short("my/own.py"), short("my/own.py:big")
  ('digits', 'own', 'own-big')
  """
  place, _, function = recipe.partition(":")
  return "-".join(filter(None, [Path(place).name.removesuffix(".py"), function]))


def only(dotted: Dotted, parts: Sequence[str]) -> None:
  """Raises a `UserError` for options of parts that the command does not have."""
  for part, words in dotted.items():
    if part not in parts:
      raise UserError(f"--{part}{words[0][1:].replace('-', '.', 1)}: no {part!r} here{nearest(part, parts)}.")
