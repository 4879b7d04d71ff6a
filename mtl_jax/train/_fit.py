"""`fit`, the training loop: progress, evaluation, best on validation, early stopping, checkpoints, resume."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax import shard
from mtl_jax._core.checks import check_compute_dtype, check_numbers
from mtl_jax._core.errors import UserError
from mtl_jax._core.frozen import Frozen
from mtl_jax._core.packed import unpacked
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.named import as_balancer
from mtl_jax.data.source.stream import Stream
from mtl_jax.engine import Engine
from mtl_jax.net import Net
from mtl_jax.problem import of_problem
from mtl_jax.shard.processes import failing
from mtl_jax.tasks import Task, balanced
from mtl_jax.train._arguments import check_alike, check_functions, check_mesh, check_needs, check_optimizer
from mtl_jax.train._evaluate import Inputs, Metrics
from mtl_jax.train._fingerprint import fingerprint_of
from mtl_jax.train._finish import Nonfinite, check_nonfinite
from mtl_jax.train._loop import Loop
from mtl_jax.train._memory import out_of_memory
from mtl_jax.train._preemption import never, notices
from mtl_jax.train._programs import batch_placement, compile_programs
from mtl_jax.train._progress import Progress
from mtl_jax.train._running import Running, warn
from mtl_jax.train._score import Best, labelled
from mtl_jax.train._sparse import Sparse
from mtl_jax.train._start import Start
from mtl_jax.train._state import TrainState
from mtl_jax.train._transform import Transform
from mtl_jax.train.checkpoint import Checkpoints
from mtl_jax.train.log import Log, read_log
from mtl_jax.train.run_dir import Resume, go_on, of_run, open_run


class Fit(NamedTuple):
  """What a training run leaves.

  Attributes:
    state: The last `TrainState`.
    params: The parameters that were best on the validation data; the last ones without such data.
    net_state: The net's state that goes with them.
    best_step: The step they are from.
    history: The lines of the log: `{"kind": "train" or "valid", "step": ..., "losses/<task>": ..., ...}`.
    step_seconds: The median time of a step, compilation and evaluation left out; NaN for very short runs.
    score: The score of the best parameters on the validation data, lower is better; infinite without such data.
  """

  state: TrainState
  params: Any
  net_state: Any
  best_step: int
  history: list[dict[str, Any]]
  step_seconds: float
  score: float


@of_problem
def fit(
  net: Net,
  tasks: Mapping[str, Task],
  balancer: Balancer | str,
  tx: optax.GradientTransformation,
  train: Any,
  *,
  steps: int,
  batch_size: int | None = None,
  valid: Any = None,
  inputs: Inputs = "x",
  engine: Engine | str | None = None,
  seed: int = 0,
  transform: Transform | None = None,
  start: Start | None = None,
  eval_every: int | None = None,
  patience: int | None = None,
  score: Callable[[Metrics], float] | None = None,
  best_from: int = 0,
  accumulate: int = 1,
  compute_dtype: Any = None,
  nonfinite: Nonfinite = "stop",
  freeze_absent: bool = True,
  frozen: Frozen = (),
  sparse: Sparse | None = None,
  mesh: jax.sharding.Mesh | None = None,
  rules: shard.AnyRules = None,
  run_dir: str | Path | None = None,
  resume: Resume = False,
  progress: bool = True,
  loop: Loop | None = None,
) -> Fit:
  r"""Trains a multi-task net on arrays in memory, or on any source of data.

  The run is a function of its arguments: killed at any time and resumed, it ends with bit-identical parameters.

  The best parameters are those of the evaluation of lowest score, by default

  $$ \frac1T \sum_t \log l_t $$

  over the validation losses: a task counts by the relative change of its loss, so units and magnitudes do not matter.
  Once a task has had a loss of zero or below, such as a Gaussian log likelihood, it counts by $l_t$ in place of its
  logarithm, and a warning says so. Tasks without validation labels are left out, with a warning.

  Args:
    net: The multi-task net.
    tasks: The tasks of the net.
    balancer: How the task gradients are combined, or a name of `mtl.balance.names()`.
    tx: The optimizer; learning-rate schedules are optax's.
    train: The training data, `{key: (N, ...)}`, numpy arrays or what `np.asarray` takes; whatever else
      `mtl.data.as_source` takes; or an `mtl.data.source.stream`. `{task: data}`, or an `mtl.data.mixture`: tasks with
      examples of their own. Checked before anything else (`mtl.data.check`).
    steps: The number of steps. A run that is resumed with more of them goes on as if it had been started so.
    batch_size: Examples a step, over all devices and all sources of a mixture; None: 128, or the sizes of the mixture.
    valid: The validation data, arrays, any source, or `{task: data}`. With it, the parameters with the best score are
      kept.
    inputs: As in `mtl.objective`.
    engine: How gradients are computed, or a name of `mtl.engine.names()`; None: the cheapest exact one.
    seed: Of initialisation, shuffling, transforms and dropout.
    transform: `transform(batch, key) -> batch`, JAX code for training batches alone, run inside the step; it keeps keys
      and shapes. Code in numpy goes to `mtl.data.source.mapped`.
    start: `start(params, state) -> (params, state)`, called once, on the host, with what the net gives a new run to
      begin with. The run begins with what it returns, such as the weights of another run (`mtl.transfer.from_run`). A
      run that goes on does not call it.
    eval_every: Steps between evaluations; None: ten in all, and in a run that is resumed as before.
    patience: Stop after this many evaluations without a better score; None: never.
    score: What "best" means: a function of `{task: {metric: value}}` over the tasks with validation labels, lower is
      better, such as `mtl.train.mean_loss` or `mtl.train.mean_metric("accuracy")`; None: the score above.
    best_from: Evaluations before this step count neither as the best nor for `patience`: for what only ends at some
      step, such as `mtl.compress.pruned`.
    accumulate: Cut each batch into this many pieces for the trunk's backward pass (see `arch.microbatch`).
    compute_dtype: For example `jnp.bfloat16`: compute in it; parameters, Gram matrix and optimizer stay float32.
    nonfinite: On a NaN or infinite loss or gradient, `"stop"` with an error; `"skip"` the step and count; `"drop"` the
      tasks with such a loss from the step and count; `"rollback"`: go back to the newest checkpoint, or to the
      beginning, with half the learning rate, five times at most; `"ignore"`.
    freeze_absent: As in `mtl.make_train_step`.
    frozen: As in `mtl.make_train_step`: regular expressions for the parameters that stay as they are.
    sparse: As in `mtl.make_train_step`: large tables of which a step updates those rows alone that its batch names.
    mesh: The devices, for example `mtl.make_mesh("data=4,model=2")`; the axis `data` holds the examples of a batch.
      None: one device.
    rules: Which of them holds what of parameters and optimizer state: `"replicated"`, `"fsdp"`, `"zero"`,
      `"tensor_parallel"`, `"expert_parallel"`, `"row_wise"`, or rules of your own (`mtl.shard.Rules`); None: all hold
      everything.
    run_dir: Where configuration, logs and checkpoints go; None: nothing is written. Several processes share it.
    resume: Go on with the run in `run_dir` from its newest undamaged checkpoint. A run that was started with other
      settings, training data or another optimizer is refused; `"anyway"`: it goes on with these, and a warning tells
      what differs. With other `steps` the optimizer may be another, since its schedule may be one over the steps; a
      warning says so.
    progress: Show a progress bar.
    loop: How the run is watched and kept: logs, checkpoints, probes (`mtl.train.Loop`).

  Returns:
    The trained state, the best parameters, and the history.

  Raises:
    UserError: Bad data or options, told in one line; a run directory that holds another run, is in use, or cannot be
      written to; a device that has too little memory.
    NonFiniteError: With `nonfinite="stop"`, or after five rollbacks; names the tasks and the step.
    Preempted: The program was sent SIGTERM, as machines are before they are taken away. The step has been finished, a
      checkpoint of it written, and the run goes on with `resume=True`. It is a `SystemExit`, with code 75. Without
      `run_dir` SIGTERM ends the program as ever.
  """
  from mtl_jax import data

  loop = Loop() if loop is None else loop
  mixture = data.as_mixture(train, tasks, inputs)
  if mixture is not None:
    batch_size = mixture.batch_size(batch_size)
    train = mixture if loop.programs is not None else mixture.sized(batch_size)
  elif batch_size is None:
    batch_size = 128
  counts = {"steps": steps, "batch_size": batch_size, "seed": seed, "accumulate": accumulate, "eval_every": eval_every}
  check_numbers({**counts, "patience": patience, "best_from": best_from})
  if best_from > steps:
    raise UserError(f"best_from is {best_from}, but the run has {steps} steps: it would have no best model.")
  balancer = as_balancer(balancer)
  check_optimizer(tx)
  check_compute_dtype(compute_dtype)
  check_nonfinite(nonfinite)
  check_functions({"score": score, "transform": transform, "start": start})
  check_needs("valid", valid, {"patience": patience, "score": score, "best_from": best_from, "probe": loop.probe})
  kept = {"resume": resume, "checkpoint_every": loop.checkpoint_every, "tensorboard": loop.tensorboard}
  check_needs("run_dir", run_dir, kept)
  check_needs("valid", run_dir if valid is None else valid, {"eval_every": eval_every})
  if resume not in (True, False, "anyway"):
    raise UserError(f"resume is {resume!r}, expected True, False or 'anyway'.")
  check_mesh(batch_size, mesh, rules, accumulate)
  if mixture is None and not isinstance(train, Stream):
    train = data.as_source(train, "train")
  data.check(train, tasks, inputs)
  scored: list[str] = []
  if valid is not None:
    valid = data.as_mixture(valid, tasks, inputs, "valid") or data.as_source(valid, "valid")
    data.check(valid, tasks, inputs)
    check_alike(net, tasks, inputs, train, valid)
    scored = labelled(balanced(tasks), valid, warn)
  if eval_every is None:
    eval_every = int(of_run(run_dir, resume, "eval_every") or max(1, steps // 10))
  checkpoint_every = eval_every if loop.checkpoint_every is None else loop.checkpoint_every
  settings: dict[str, Any] = {name: int(value) for name, value in {**counts, "eval_every": eval_every}.items()}
  settings |= {"tasks": list(tasks)}  # in the order of all state over tasks
  settings |= {"freeze_absent": freeze_absent, "frozen": [frozen] if isinstance(frozen, str) else list(frozen)}
  if sparse:
    settings["sparse"] = list(sparse)
  if best_from:
    settings["best_from"] = int(best_from)
  settings |= {
    "compute_dtype": None if compute_dtype is None else jnp.dtype(compute_dtype).name,
    "nonfinite": nonfinite,
  }
  functions = {"score": score, "transform": transform, "start": start}
  settings |= {
    name: None if given is None else getattr(given, "__qualname__", type(given).__name__)
    for name, given in functions.items()
  }

  programs = loop.programs
  if programs is None:
    programs = compile_programs(
      net,
      tasks,
      balancer,
      tx,
      train,
      inputs=inputs,
      batch_size=batch_size,
      engine=engine,
      transform=transform,
      accumulate=accumulate,
      compute_dtype=compute_dtype,
      nonfinite=nonfinite,
      freeze_absent=freeze_absent,
      frozen=frozen,
      sparse=sparse,
      mesh=mesh,
      rules=rules,
    )
  loader = iter(data.batches(train, batch_size, seed=seed, sharding=batch_placement(mesh)))

  def create(model=None):
    return programs.create(jax.random.key(seed), model)

  state = create()
  running = Running(
    programs=programs,
    loader=loader,
    first=loader.get_state(),
    create=create,
    start=start,
    tasks=tasks,
    balancer=balancer,
    valid=valid,
    scored=scored,
    score=score,
    loop=loop,
    steps=steps,
    batch_size=batch_size,
    eval_every=eval_every,
    checkpoint_every=checkpoint_every,
    patience=patience,
    best_from=best_from,
    nonfinite=nonfinite,
    state=state,
  )
  with contextlib.ExitStack() as opened:
    noticed = never
    if run_dir is not None:
      run_dir = Path(run_dir)
      described = {**loop.config, "fit": settings}
      fingerprint = fingerprint_of(train, tx, state.params, frozen)
      opened.enter_context(open_run(run_dir, described, resume, data.describe(train, loop.about), fingerprint))
      running.kept = run_dir, opened.enter_context(Checkpoints(run_dir / "checkpoints", loop.keep))
      if running.recall():
        running.history = [line for line in read_log(run_dir) if line["step"] <= running.done]
      go_on(run_dir, described, running.done, fingerprint, warn)
      noticed = opened.enter_context(notices())
    if running.done == 0:
      running.begin(state)
    log = Log(run_dir if shard.is_first() else None, since=running.done, tensorboard=loop.tensorboard)
    bar = Progress(steps, running.done, progress and shard.is_first(), loop.title)
    opened.enter_context(log)
    opened.enter_context(bar)
    try:
      running.go(log, bar, noticed)
    except UserError:
      raise
    except Exception as error:
      failing()  # before anything waits for the other processes
      if (short := out_of_memory(error, batch_size)) is not None:
        raise short from error
      raise
  if running.stopped is not None:
    warn(str(running.stopped))
    raise running.stopped
  state, best_model, best = running.state, running.best_model, running.best
  if valid is not None and best.step == 0:
    warn("no evaluation had a finite score: the last parameters are returned in place of the best.")
  if best_model is None or best.step == 0:
    best_model, best = (state.params, state.state), Best(step=int(state.step))
  params, net_state = unpacked(best_model)
  return Fit(state, params, net_state, best.step, running.history, running.clock.step_seconds(), best.score)
