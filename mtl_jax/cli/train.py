"""`mtl-jax train`."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from mtl_jax.cli.output import choices_told, draw, print_metrics
from mtl_jax.cli.training import Beginning, Dotted, only, options_of, short


@dataclasses.dataclass(frozen=True)
class Train(Beginning):
  """Train one multi-task model.

  For example

    mtl-jax train digits --balancer pcgrad
    mtl-jax train --table people.csv --targets income,hours   (its options: mtl-jax train --table --help)
    mtl-jax train digits --balancer dwa --balancer.window 50 --run-dir runs/dwa
    mtl-jax train digits --arch mmoe --arch.experts 8 --balancer nash
    mtl-jax train digits --balancer pcgrad --run-dir runs/pcgrad --resume
    mtl-jax train digits --teacher runs/left runs/right runs/tilt --teacher-weight 0.7
    mtl-jax train my.py --recipe.size 500
    mtl-jax train digits --mesh data=4,model=2 --rules fsdp
    mtl-jax train digits --coordinator 10.0.0.1:8476 --num-processes 2 --process-id 0
  """

  teacher: tuple[str, ...] = ()
  """Run directories of trained models that the tasks learn from beside their labels: one of all tasks, or one for each;
  needed again with --resume. Tasks are matched by name."""
  taught: tuple[str, ...] = ()
  """The tasks that learn from teachers (default: all)."""
  teacher_weight: float | None = None
  """The weight of what they predict, from 0 to 1; that of the labels is the rest (default: 0.5)."""
  temperature: float | None = None
  """What logits are divided by where probabilities of teacher and model are compared (default: 2)."""
  balancer: str = "equal"
  """How task gradients are combined; its own options as --balancer.OPTION."""
  seed: int = 0
  """Of initialisation, shuffling and dropout."""
  run_dir: Path | None = None
  """Where configuration, logs, checkpoints and pictures go (default: runs/RECIPE[-ARCH]-BALANCER-SEED)."""
  resume: bool = False
  """Go on with the run in the directory; with another number of --steps it goes on to that."""
  resume_anyway: bool = False
  """Go on with it even with other settings, training data or another optimizer than it was started with."""
  mesh: str | None = None
  """The devices to train on, such as data=4 or data=4,model=2; one size may be -1, all that are left (default: the
  first device; with several processes data=-1)."""
  rules: str | None = None
  """What each device holds: replicated, fsdp, zero, tensor_parallel or expert_parallel (default: replicated)."""
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
  keep: int = 2
  """How many checkpoints stay, the newest; each holds the best model so far, too."""
  tensorboard: bool = False
  """Also write TensorBoard events."""
  verbose: bool = False
  """Also tell what was counted to choose the engine."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax import shard
    from mtl_jax.analysis import plots
    from mtl_jax.data import describe
    from mtl_jax.experiment import configure
    from mtl_jax.experiment.config import data_of, problem_of
    from mtl_jax.experiment.run import train_run
    from mtl_jax.train import Loop
    from mtl_jax.train.clock import waiting_for_data
    from mtl_jax.train.run_dir import of_run

    only(dotted, ["recipe", "balancer", "engine", "arch"])
    several = self.join or (self.coordinator, self.num_processes, self.process_id) != (None, None, None)
    if several:
      shard.start_processes(self.coordinator, self.num_processes, self.process_id)
    mesh = "data=-1" if several and self.mesh is None else self.mesh
    # A run goes on to its own number of steps, not the recipe's, unless another is asked for.
    words = [short(self.recipe), *([self.arch] if self.arch else []), self.balancer, str(self.seed)]
    run_dir = self.run_dir or Path("runs") / "-".join(words)
    resume = "anyway" if self.resume_anyway else self.resume
    steps = of_run(run_dir, resume, "steps") if self.steps is None else self.steps
    options = options_of(dataclasses.replace(self, steps=steps), dotted)
    options |= {"teachers": self.teacher, "taught": self.taught}
    options |= {"teacher_weight": self.teacher_weight, "temperature": self.temperature}
    experiment = configure(**options, balancer=self.balancer, seed=self.seed)
    splits = data_of(experiment)
    with choices_told(self.verbose):
      result, test = train_run(
        experiment,
        splits,
        run_dir=run_dir,
        resume=resume,
        mesh=None if mesh is None else shard.make_mesh(mesh),
        rules=self.rules,
        patience=self.patience,
        loop=Loop(
          checkpoint_every=self.checkpoint_every,
          keep=self.keep,
          tensorboard=self.tensorboard,
          title=f"{short(self.recipe)} {self.balancer}",
        ),
      )
    if not shard.is_first():
      return
    problem = problem_of(experiment, describe(splits.train, splits.about))
    metrics = {name: task.main_metric for name, task in problem.tasks.items()}
    draw(lambda: plots.learning_curves(run_dir / "learning_curves.png", {self.balancer: result.history}, metrics))
    print_metrics({"test": test}, problem.tasks, run_dir / "test.json")
    waited = waiting_for_data(result.history)
    of_data = f", waited for data: {waited:.1%}" if math.isfinite(waited) else ""
    print(f"best model of step {result.best_step}, logs and checkpoints: {run_dir}{of_data}")
