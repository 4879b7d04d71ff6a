"""The commands of `mtl-jax`: each a dataclass of its options, which make its help text, and what it does."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mtl_jax._errors import UserError, nearest
from mtl_jax._output import choices_told, console, draw, print_metrics

Own = Mapping[str, tuple[str, ...]]
"""The options of the parts that a command names, for example `{"balancer": ("--window", "50")}`."""

_Recipe = tyro.conf.Positional[str]


@dataclasses.dataclass(frozen=True)
class _Training:
  """Options that all training commands share."""

  recipe: Annotated[_Recipe, tyro.conf.arg(metavar="RECIPE")]
  """What to train on; `mtl-jax recipes` lists them."""
  tasks: tuple[str, ...] = ()
  """Train these tasks only (default: all of the recipe's)."""
  scale: Literal["paper", "sum", "mean"] = "paper"
  """On which scale the balancer's weights are: its paper's, or that where equal weighting is all ones or 1 / T."""
  engine: str | None = None
  """How task gradients are computed (default: the cheapest exact engine); its own options as --engine.OPTION."""
  steps: int | None = None
  """Steps to train (default: the recipe's)."""
  batch_size: int | None = None
  """Examples a step (default: the recipe's)."""
  learning_rate: float | None = None
  """Peak of the learning-rate schedule (default: the recipe's)."""
  accumulate: int = 1
  """Cut each batch into this many pieces to save memory; the result is that of the whole batch."""
  dtype: Literal["float32", "bfloat16"] = "float32"
  """What the network computes in; parameters and Gram matrices stay float32."""
  nonfinite: Literal["stop", "skip", "ignore"] = "stop"
  """On a NaN or infinite loss: stop with an error, skip the step and count it, or do not check."""


@dataclasses.dataclass(frozen=True)
class Train(_Training):
  """Train one multi-task model.

  For example

    mtl-jax train digits --balancer pcgrad
    mtl-jax train digits --balancer dwa --balancer.window 50 --run-dir runs/dwa
    mtl-jax train digits --balancer pcgrad --run-dir runs/pcgrad --resume
    mtl-jax train digits --mesh data=4,model=2 --rules fsdp
    mtl-jax train digits --coordinator 10.0.0.1:8476 --num-processes 2 --process-id 0
  """

  balancer: str = "equal"
  """How task gradients are combined; its own options as --balancer.OPTION."""
  seed: int = 0
  """Of initialisation, shuffling and dropout."""
  run_dir: Path | None = None
  """Where configuration, logs, checkpoints and pictures go (default: runs/RECIPE-BALANCER-SEED)."""
  resume: bool = False
  """Go on with the run in the directory."""
  mesh: str | None = None
  """The devices to train on, such as data=4 or data=4,model=2; one size may be -1, all that are left (default: the
  first device; with several processes data=-1)."""
  rules: str | None = None
  """What each device holds: replicated, fsdp, zero or tensor_parallel (default: replicated)."""
  coordinator: str | None = None
  """With several processes, HOST:PORT of process 0; start the same command in each."""
  num_processes: int | None = None
  """How many processes there are."""
  process_id: int | None = None
  """Which of them this is, from 0."""
  join: bool = False
  """Be one of several processes that JAX finds by itself (TPU pods, SLURM, Open MPI, Kubernetes)."""
  patience: int | None = None
  """Stop after this many evaluations without a better score."""
  checkpoint_every: int | None = None
  """Steps between checkpoints (default: at each evaluation)."""
  tensorboard: bool = False
  """Also write TensorBoard events."""

  def execute(self, own: Own) -> None:
    """Runs the command."""
    from mtl_jax import recipes, shard
    from mtl_jax.analysis import plots
    from mtl_jax.recipes._run import train_run
    from mtl_jax.train._fit import waiting_for_data

    _only(own, ["balancer", "engine"])
    several = self.join or (self.coordinator, self.num_processes, self.process_id) != (None, None, None)
    if several:
      shard.start_processes(self.coordinator, self.num_processes, self.process_id)
    mesh = "data=-1" if several and self.mesh is None else self.mesh
    config = _config(
      self,
      balancer=self.balancer,
      seed=self.seed,
      balancer_options=own.get("balancer", ()),
      engine_options=own.get("engine", ()),
    )
    run_dir = self.run_dir or Path("runs") / f"{config.recipe}-{config.balancer}-{config.seed}"
    with choices_told():
      result, test = train_run(
        config,
        recipes.load(config.recipe).data(0),
        run_dir=run_dir,
        resume=self.resume,
        mesh=None if mesh is None else shard.make_mesh(mesh),
        rules=self.rules,
        patience=self.patience,
        checkpoint_every=self.checkpoint_every,
        tensorboard=self.tensorboard,
        title=f"{config.recipe} {config.balancer}",
      )
    if not shard.is_first():
      return
    metrics = {
      name: task.main_metric for name, task in recipes.load(config.recipe).tasks.items() if name in config.tasks
    }
    draw(lambda: plots.learning_curves(run_dir / "learning_curves.png", {config.balancer: result.history}, metrics))
    print_metrics({"test": test})
    waited = waiting_for_data(result.history)
    of_data = f", waited for data: {waited:.1%}" if math.isfinite(waited) else ""
    print(f"best model of step {result.best_step}, logs and checkpoints: {run_dir}{of_data}")


@dataclasses.dataclass(frozen=True)
class Compare(_Training):
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

  def execute(self, own: Own) -> None:
    """Runs the command."""
    from mtl_jax import balance
    from mtl_jax._options import without_options
    from mtl_jax.analysis.compare import compare, table

    names = self.balancers
    if names == ("all",):
      ready = without_options(balance)
      names = tuple(name for name in balance.names() if name in ready or name in own)
    _only(own, [*names, "engine"])
    config = _config(self, engine_options=own.get("engine", ()))
    out = self.out or Path("runs") / f"compare-{self.recipe}"
    shown = console()
    comparison = compare(
      config,
      [(name, own.get(name, ())) for name in names],
      self.seeds,
      out,
      say=lambda line: shown.print(line, highlight=False, markup=False),
    )
    shown.print(table(comparison))
    print(f"tables: {out / 'comparison.csv'}, {out / 'comparison.json'}")
    print(f"pictures: {', '.join(str(path) for path in sorted(out.glob('*.png')))}")


@dataclasses.dataclass(frozen=True)
class Evaluate:
  """Test the best model of a run: every metric of every task, on validation and test data.

  For example

    mtl-jax evaluate runs/digits-pcgrad-0
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory."""

  def execute(self, own: Own) -> None:
    """Runs the command."""
    from mtl_jax.recipes._run import open_trained

    _only(own, [])
    trained = open_trained(self.run, warnings.warn)
    splits = {"valid": trained.splits.valid, "test": trained.splits.test}
    print_metrics({k: trained.programs.evaluate(trained.params, trained.state, v) for k, v in splits.items()})


@dataclasses.dataclass(frozen=True)
class Predict:
  """Predict with the best model of a run.

  For example

    mtl-jax predict runs/digits-pcgrad-0 --input images.npz --output predictions.npz
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory."""
  input: Path
  """An .npz file with the recipe's input arrays (for example `x`)."""
  output: Path = Path("predictions.npz")
  """The .npz file to write: arrays named <task>.<output>."""

  def execute(self, own: Own) -> None:
    """Runs the command."""
    import numpy as np

    from mtl_jax.recipes._run import open_trained
    from mtl_jax.train import predict_all

    _only(own, [])
    try:
      with np.load(self.input, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError) as error:
      raise UserError(f"cannot read {self.input} as .npz: {error}") from error
    trained = open_trained(self.run, warnings.warn)
    model = trained.model
    inputs = model.recipe.inputs
    for key in {inputs} if isinstance(inputs, str) else set(inputs.values()):
      if key not in arrays:
        known = ", ".join(map(repr, arrays))
        raise UserError(f"{self.input} has no array {key!r}, only {known}{nearest(key, arrays)}.")
      expected = trained.splits.test[key].shape[1:]
      if arrays[key].shape[1:] != expected or not len(arrays[key]):
        raise UserError(f"input {key!r} has shape {arrays[key].shape}, expected (N, {', '.join(map(str, expected))}).")
    outputs = predict_all(model.net, model.tasks, trained.params, trained.state, arrays, inputs)
    flat: dict[str, Any] = {f"{task}.{name}": value for task, named in outputs.items() for name, value in named.items()}
    np.savez(self.output, **flat)
    print(f"{self.output}: " + ", ".join(f"{name} {value.shape}" for name, value in flat.items()))


@dataclasses.dataclass(frozen=True)
class Plan(_Training):
  """Tell whether a run fits a TPU or GPU, and at what cost, by compiling its step without the hardware.

  Compilers are extras: pip install 'mtl-jax[tpu]' or 'mtl-jax[cuda12]'; virtual CPU devices need none. For example

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
  """What each device holds: replicated, fsdp, zero or tensor_parallel (default: replicated)."""
  out: Path | None = None
  """A JSON file to write the reports to."""

  def execute(self, own: Own) -> None:
    """Runs the command."""
    import jax

    from mtl_jax._options import build_engine
    from mtl_jax.plan import chip, table
    from mtl_jax.recipes._planning import plan_run, write_plan

    if self.engine is not None and self.engines:
      raise UserError("--engine and --engines exclude each other: name all engines after --engines.")
    _only(own, ["balancer", *(["engine"] if self.engine else []), *self.engines])
    engines = [build_engine(name, own.get(name, ())) for name in self.engines]
    if self.engine is not None:
      engines = [build_engine(self.engine, own.get("engine", ()))]
    jax.config.update("jax_platforms", "cpu")  # the devices that this machine may have are for others
    config = _config(self, balancer=self.balancer, balancer_options=own.get("balancer", ()))
    reports = plan_run(config, self.topology, engines or None, self.mesh, self.rules)
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
      write_plan(self.out, config, reports)
      print(f"reports: {self.out}")


@dataclasses.dataclass(frozen=True)
class Recipes:
  """List the recipes."""

  def execute(self, own: Own) -> None:
    """Runs the command."""
    from mtl_jax import recipes

    for name in recipes.names():
      recipe = recipes.load(name)
      print(f"{name:12} {recipe.summary} Tasks: {', '.join(recipe.tasks)}.")


COMMANDS = {
  "train": Train,
  "compare": Compare,
  "plan": Plan,
  "evaluate": Evaluate,
  "predict": Predict,
  "recipes": Recipes,
}


def _config(command: _Training, **more: Any) -> Any:
  from mtl_jax.recipes._run import configure

  names = [field.name for field in dataclasses.fields(_Training)]
  return configure(**{name: getattr(command, name) for name in names}, **more)


def _only(own: Own, parts: Sequence[str]) -> None:
  for part, words in own.items():
    if part not in parts:
      raise UserError(f"--{part}{words[0][1:].replace('-', '.', 1)}: no {part!r} here{nearest(part, parts)}.")
