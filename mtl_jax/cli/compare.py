"""`mtl-jax compare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mtl_jax.cli.output import console
from mtl_jax.cli.training import Dotted, Training, config_of, only


@dataclasses.dataclass(frozen=True)
class Compare(Training):
  """Compare balancers with single-task training of the same network and budget.

  For example

    mtl-jax compare digits --balancers equal uncertainty pcgrad --seeds 3
    mtl-jax compare digits --balancers all --steps 200 --out runs/all
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
    from mtl_jax.experiment.compare import compare, table
    from mtl_jax.experiment.options import without_options

    names = self.balancers
    if names == ("all",):
      ready = without_options(balance)
      names = tuple(name for name in balance.names() if name in ready or name in dotted)
    only(dotted, [*names, "engine"])
    config = config_of(self, engine_options=dotted.get("engine", ()))
    out = self.out or Path("runs") / f"compare-{self.recipe}"
    shown = console()
    comparison = compare(
      config,
      [(name, dotted.get(name, ())) for name in names],
      self.seeds,
      out,
      say=lambda line: shown.print(line, highlight=False, markup=False),
    )
    shown.print(table(comparison))
    print(f"tables: {out / 'comparison.csv'}, {out / 'comparison.json'}")
    print(f"pictures: {', '.join(str(path) for path in sorted(out.glob('*.png')))}")
