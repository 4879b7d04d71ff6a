"""`mtl-jax compare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mtl_jax._core.checks import check_once
from mtl_jax._core.errors import UserError
from mtl_jax.cli.output import console
from mtl_jax.cli.training import Beginning, Dotted, only, options_of, short

DEFAULT = ("equal", "uncertainty", "pcgrad")


@dataclasses.dataclass(frozen=True)
class Compare(Beginning):
  """Compare balancers and architectures with single-task training of the same network and budget.

  For example

    mtl-jax compare digits --balancers equal uncertainty pcgrad --seeds 3
    mtl-jax compare digits --balancers all --steps 200 --out runs/all
    mtl-jax compare digits --archs hard_sharing mmoe cross_stitch --mmoe.experts 8
    mtl-jax compare my.py --recipe.size 500 --balancers equal mgda
  """

  balancers: tuple[str, ...] | None = None
  """The balancers, options of one as --NAME.OPTION (--dwa.window 50); or `all` that need no options or have them
  (default: equal uncertainty pcgrad; with --archs equal)."""
  archs: tuple[str, ...] = ()
  """The architectures, options of one as --NAME.OPTION (--mmoe.experts 8); or `all` that serve the recipe."""
  seeds: int = 1
  """How many seeds each model is trained with."""
  single_task: bool = True
  """Whether the baselines are trained, one network per task."""
  out: Path | None = None
  """Where tables and pictures go (default: runs/compare-RECIPE)."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import arch, balance
    from mtl_jax.experiment import compare
    from mtl_jax.experiment.options import build_arch, build_balancer

    if self.archs and self.arch:
      raise UserError("--arch and --archs exclude each other: name all architectures after --archs.")
    given = self.balancers
    if given is None:
      given = ("equal",) if self.archs else DEFAULT
    names = _named(balance, given, dotted)
    archs = _named(arch, self.archs, dotted)
    check_once("balancers", names)
    check_once("archs", archs)
    only(dotted, [*names, *archs, "recipe", "engine", "arch"])
    options = options_of(self, dotted)
    made = {name: build_arch(name, dotted.get(name, ())) for name in archs}
    out = self.out or Path("runs") / f"compare-{short(self.recipe)}"
    shown = console()
    comparison = compare(
      balancers={name: build_balancer(name, dotted.get(name, ())) for name in names},
      seeds=self.seeds,
      single_task=self.single_task,
      out=out,
      archs=made or None,
      skip=self.archs == ("all",),
      say=lambda line: shown.print(line, highlight=False, markup=False),
      **options,
    )
    shown.print(comparison.table())
    print(f"tables: {out / 'comparison.csv'}, {out / 'comparison.json'}")
    print(f"pictures: {', '.join(str(path) for path in sorted(out.glob('*.png')))}")


def _named(module: Any, names: tuple[str, ...], dotted: Dotted) -> tuple[str, ...]:
  """The names, or for `all` those of the module's that need no options or have them."""
  from mtl_jax.experiment.options import without_options

  if names != ("all",):
    return names
  ready = without_options(module)
  return tuple(name for name in module.names() if name in ready or name in dotted)
