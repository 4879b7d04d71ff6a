"""`mtl-jax serve`: the best model of a run as a service."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from mtl_jax.cli.training import Dotted, only
from mtl_jax.serve.limits import Limits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Serve(Limits):
  """Answer requests over HTTP with the best model of a run; a page at its address lets you try it.

  For example

    mtl-jax serve runs/digits-pcgrad-0
    curl --data-binary @images.npz 'localhost:8000/predict?name=images.npz'
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory."""
  host: str = "127.0.0.1"
  """The address to listen on: this one is for this machine alone. Nobody is asked who they are."""
  port: int = 8000
  """The port; 0 takes any that is free."""
  tasks: tuple[str, ...] = ()
  """Answer these tasks only (default: all)."""
  recipe: str | None = None
  """The recipe of a run of your own: my.py, my.py:FUNCTION or package.module:FUNCTION, which is never run unasked."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax.experiment.files import own_files
    from mtl_jax.experiment.trained import about_run, open_trained, recipe_of
    from mtl_jax.serve import app, run

    only(dotted, [])
    recipe = recipe_of(self.run, self.recipe)
    trained = open_trained(self.run, recipe)
    limits = Limits(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Limits)})
    options = {"tasks": self.tasks or None, "limits": limits, "about": about_run(trained, recipe)}
    made = app(trained, own_files(recipe, trained), **options)
    run(made, self.host, self.port)
