"""`mtl-jax compare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mtl_jax._core.checks import check_once
from mtl_jax.cli.output import console
from mtl_jax.cli.training import Dotted, Training, only, options_of, short


@dataclasses.dataclass(frozen=True)
class Compare(Training):
  """Compare balancers with single-task training of the same network and budget.

  For example

    mtl-jax compare digits --balancers equal uncertainty pcgrad --seeds 3
    mtl-jax compare digits --balancers all --steps 200 --out runs/all
    mtl-jax compare my.py --recipe.size 500 --balancers equal mgda
  """

  balancers: tuple[str, ...] = ("equal", "uncertainty", "pcgrad")
  """The balancers, options of one as --NAME.OPTION (--dwa.window 50); or `all` that need no options or have them."""
  seeds: int = 1
  """How many seeds each model is trained with."""
  out: Path | None = None
  """Where tables and pictures go (default: runs/compare-RECIPE)."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import balance
    from mtl_jax.experiment import compare
    from mtl_jax.experiment.options import build_balancer, without_options

    names = self.balancers
    if names == ("all",):
      ready = without_options(balance)
      names = tuple(name for name in balance.names() if name in ready or name in dotted)
    only(dotted, [*names, "recipe", "engine"])
    check_once("balancers", names)
    out = self.out or Path("runs") / f"compare-{short(self.recipe)}"
    shown = console()
    comparison = compare(
      balancers={name: build_balancer(name, dotted.get(name, ())) for name in names},
      seeds=self.seeds,
      out=out,
      say=lambda line: shown.print(line, highlight=False, markup=False),
      **options_of(self, dotted),
    )
    shown.print(comparison.table())
    print(f"tables: {out / 'comparison.csv'}, {out / 'comparison.json'}")
    print(f"pictures: {', '.join(str(path) for path in sorted(out.glob('*.png')))}")
