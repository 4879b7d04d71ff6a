"""`mtl-jax describe`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from mtl_jax.cli.output import console, draw
from mtl_jax.cli.training import Dotted, Recipe, only, options_of_parts, short


@dataclasses.dataclass(frozen=True)
class Describe:
  """Draw the network of a recipe, and tell the parameters and the work of its parts, shared and per task.

  For example

    mtl-jax describe digits
    mtl-jax describe digits --arch mmoe --arch.experts 8 --out mmoe.png
  """

  recipe: Annotated[Recipe, tyro.conf.arg(metavar="RECIPE")]
  """One of those that `mtl-jax recipes` lists, or of your own, as in `mtl-jax train`."""
  tasks: tuple[str, ...] = ()
  """With heads for these tasks only (default: all of the recipe's)."""
  arch: str | None = None
  """How trunk and heads are joined (default: the recipe's own); its own options as --arch.OPTION."""
  out: Path | None = None
  """Where the picture goes (default: RECIPE[-ARCH].png)."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from rich.table import Table

    from mtl_jax.analysis import parts, plots
    from mtl_jax.analysis.parts import in_short
    from mtl_jax.data import describe
    from mtl_jax.experiment import configure
    from mtl_jax.experiment.config import data_of, example_of, problem_of

    only(dotted, ["recipe", "arch"])
    experiment = configure(self.recipe, tasks=self.tasks, arch=self.arch, **options_of_parts(dotted, "recipe", "arch"))
    splits = data_of(experiment)
    described = describe(splits.train, splits.about)
    problem = problem_of(experiment, described)
    found = parts(problem.net, example_of(problem, described, experiment.config.batch_size))
    title = " ".join([self.recipe, *([self.arch] if self.arch else [])])
    table = Table(title=f"{title}: {sum(part.parameters for part in found):,} parameters")
    for column in ("part", "parameters", "MFLOP an example"):
      table.add_column(column, justify="left" if column == "part" else "right")
    for part in in_short(found):
      table.add_row(part.name, f"{part.parameters:,}", "" if part.flops is None else f"{part.flops / 1e6:.3f}")
    console().print(table)
    path = self.out or Path(f"{'-'.join([short(self.recipe), *([self.arch] if self.arch else [])])}.png")
    draw(lambda: plots.network(path, found, title))
    if path.exists():
      print(f"picture: {path}")
