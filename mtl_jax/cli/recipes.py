"""`mtl-jax recipes`."""

from __future__ import annotations

import dataclasses
import inspect

from mtl_jax._core.errors import some
from mtl_jax._core.named import required
from mtl_jax.cli.training import Dotted


@dataclasses.dataclass(frozen=True)
class Recipes:
  """List the recipes: what they are, their tasks, and what to expect of them."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import recipes

    for name in recipes.names():
      function = recipes.find(name)
      if needed := required(function):
        options = ", ".join(f"--recipe.{option}" for option in needed)
        print(f"{name:12} {str(inspect.getdoc(function)).splitlines()[0]} It needs {options}.")
        continue
      recipe = function()
      tasks = f"{len(recipe.tasks)} tasks: {some(recipe.tasks)}."
      print(f"{name:12} {recipe.summary}", tasks, *filter(None, [recipe.expected]), sep="\n" + 13 * " ")
