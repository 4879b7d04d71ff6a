"""`mtl-jax compare`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from mtl_jax._core.checks import check_once
from mtl_jax._core.errors import UserError
from mtl_jax.cli.output import console
from mtl_jax.cli.training import Beginning, Dotted, only, options_of, short
from mtl_jax.cli.workers import SECONDS, WHERE, Worker, numbers, words_of

DEFAULT = ("equal", "uncertainty", "pcgrad")


@dataclasses.dataclass(frozen=True)
class Compare(Beginning):
  """Compare balancers and architectures with single-task training of the same network and budget.

  For example

    mtl-jax compare digits --balancers equal uncertainty pcgrad --seeds 3
    mtl-jax compare digits --balancers all --steps 200 --out runs/all
    mtl-jax compare digits --archs hard_sharing mmoe cross_stitch --mmoe.experts 8
    mtl-jax compare my.py --recipe.size 500 --balancers equal mgda
    mtl-jax compare digits --seeds 5 --jobs 10 --cluster slurm --cluster.partition gpu --cluster.gpus-per-node 1
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
  resume: bool = False
  """Go on with the comparison there, with more seeds, too: what is finished is not trained again."""
  jobs: int = 1
  """How many programs train for it at a time."""
  cluster: Literal["processes", "local", "slurm", "ray"] = "processes"
  """Where they run: as processes here, this one among them; as jobs of Slurm, or local ones in their manner, or tasks
  of Ray, while this one waits. Options of the cluster as --cluster.OPTION (--cluster.partition gpu)."""
  worker: int | None = None
  """Train for the comparison that another program has begun in --out, and begin with its method of this number."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import arch, balance
    from mtl_jax.experiment import compare, join
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
    only(dotted, [*names, *archs, "recipe", "engine", "arch", "cluster"])
    options = options_of(self, dotted)
    made = {name: build_arch(name, dotted.get(name, ())) for name in archs}
    out = self.out or Path("runs") / f"compare-{short(self.recipe)}"
    shown = console()
    options |= {
      "balancers": {name: build_balancer(name, dotted.get(name, ())) for name in names},
      "seeds": self.seeds,
      "single_task": self.single_task,
      "out": out,
      "archs": made or None,
      "skip": self.archs == ("all",),
      "say": lambda line: shown.print(line, highlight=False, markup=False),
      "kept": {name: list(dotted[name]) for name in (*names, *archs) if name in dotted},
    }
    if self.worker is not None:
      join(first=self.worker, **options)
      return
    with self._others(out, dotted) as others:
      comparison = compare(resume=self.resume, others=others, **options)
    shown.print(comparison.table())
    print(f"tables: {out / 'comparison.csv'}, {out / 'comparison.json'}")
    print(f"pictures: {', '.join(str(path) for path in sorted(out.glob('*.png')))}")

  @contextlib.contextmanager
  def _others(self, out: Path, dotted: Dotted) -> Iterator[Any]:
    """The programs beside this one; those that still work are ended with it."""
    from mtl_jax.experiment import Others

    workers: list[Worker] = []
    here = self.cluster == "processes"
    cluster = numbers(dotted.get("cluster", ()))
    worker = dataclasses.replace(self, out=out.absolute(), jobs=1, resume=False, cluster="processes")
    parts = {part: words for part, words in dotted.items() if part != "cluster"}
    first = range(1 if here else 0, self.jobs)
    commands = [words_of("compare", dataclasses.replace(worker, worker=number), parts) for number in first]

    def begin() -> None:
      logs = out / "jobs"
      logs.mkdir(exist_ok=True)
      workers.extend(WHERE[self.cluster](commands, logs, cluster))

    def working() -> bool:
      return any(worker.working() for worker in workers)

    try:
      yield Others(begin, working, alone=not here) if commands else None
      deadline = time.monotonic() + SECONDS
      while working() and time.monotonic() < deadline:  # nothing is left to train, so they are about to end
        time.sleep(0.1)
    finally:
      for worker in workers:
        if worker.working():
          worker.end()
        elif worker.failed():
          print(f"mtl-jax: a job failed, see {out / 'jobs'}; what it left undone was done here.", file=sys.stderr)


def _named(module: Any, names: tuple[str, ...], dotted: Dotted) -> tuple[str, ...]:
  """The names, or for `all` those of the module's that need no options or have them."""
  from mtl_jax.experiment.options import without_options

  if names != ("all",):
    return names
  ready = without_options(module)
  return tuple(name for name in module.names() if name in ready or name in dotted)
