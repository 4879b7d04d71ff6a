"""`mtl-jax recipes`."""

from __future__ import annotations

import dataclasses

from mtl_jax._core.errors import some
from mtl_jax.cli.training import Dotted


@dataclasses.dataclass(frozen=True)
class Recipes:
  """List the recipes: what they are, their tasks, and what to expect of them."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import recipes

    for name in recipes.names():
      recipe = recipes.load(name)
      tasks = f"{len(recipe.tasks)} tasks: {some(recipe.tasks)}."
      print(f"{name:12} {recipe.summary}", tasks, *filter(None, [recipe.expected]), sep="\n" + 13 * " ")
