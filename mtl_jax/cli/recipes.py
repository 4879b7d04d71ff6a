"""`mtl-jax recipes`."""

from __future__ import annotations

import dataclasses

from mtl_jax.cli.training import Dotted


@dataclasses.dataclass(frozen=True)
class Recipes:
  """List the recipes."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import recipes

    for name in recipes.names():
      recipe = recipes.load(name)
      print(f"{name:12} {recipe.summary} Tasks: {', '.join(recipe.tasks)}.")
