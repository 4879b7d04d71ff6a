"""`mtl-jax plan`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mtl_jax._core.errors import UserError
from mtl_jax.cli.output import console
from mtl_jax.cli.training import Dotted, Training, only, options_of


@dataclasses.dataclass(frozen=True)
class Plan(Training):
  """Tell whether a run fits a TPU or GPU, and at what cost, by compiling its step without the hardware.

  Compilers are extras: pip install 'mtl-jax[tpu]', 'mtl-jax[cuda12]' or 'mtl-jax[cuda13]'; virtual CPU devices need
  none. For example

    mtl-jax plan digits --topology v5e:4x4 --balancer pcgrad --batch-size 4096
    mtl-jax plan digits --topology h100:8 --balancer pcgrad --engines gram stacked --out plan.json
    mtl-jax plan digits --topology cpu:8 --balancer mgda --engine gram
  """

  topology: str = "v5e:2x4"
  """The devices: v5e:4x4 is a slice of 16 TPU v5e, h100:8 a machine with eight H100, cpu:8 eight virtual CPUs."""
  balancer: str = "equal"
  """How task gradients are combined; its own options as --balancer.OPTION."""
  engine: str | None = None
  """Plan for this engine only; its own options as --engine.OPTION."""
  engines: tuple[str, ...] = ()
  """The engines to compare, options of one as --NAME.OPTION (default: all that serve the balancer)."""
  mesh: str | None = None
  """The axes of these devices, such as data=4,model=2 (default: all along data)."""
  rules: str | None = None
  """What each device holds: replicated, fsdp, zero, tensor_parallel or expert_parallel (default: replicated)."""
  out: Path | None = None
  """A JSON file to write the reports to."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    import jax

    from mtl_jax._core.npz import check_writable
    from mtl_jax.experiment import configure
    from mtl_jax.experiment.options import build_engine
    from mtl_jax.experiment.planning import plan_run, write_plan
    from mtl_jax.plan import chip, table

    if self.engine is not None and self.engines:
      raise UserError("--engine and --engines exclude each other: name all engines after --engines.")
    only(dotted, ["recipe", "balancer", "arch", *(["engine"] if self.engine else []), *self.engines])
    if self.out is not None:
      check_writable(self.out)
    engines = [build_engine(name, dotted.get(name, ())) for name in self.engines]
    if self.engine is not None:
      engines = [build_engine(self.engine, dotted.get("engine", ()))]
    jax.config.update("jax_platforms", "cpu")  # the devices that this machine may have are for others
    experiment = configure(**options_of(self, dotted), balancer=self.balancer)
    reports = plan_run(experiment, self.topology, engines or None, self.mesh, self.rules)
    console().print(table(reports))
    for report in reports:
      if report.fits is False:
        print(f"{report.engine} does not fit: {report.reason}")
    kind = self.topology.partition(":")[0]
    if kind != "cpu":
      print(f"predicted from the peak rates of {chip(kind).source}")
    if self.accumulate > 1:
      print("GFLOP and moved count the body of a loop once, so with --accumulate they are too low.")
    if self.out is not None:
      write_plan(self.out, experiment.config, reports)
      print(f"reports: {self.out}")
