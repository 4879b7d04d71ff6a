"""`fit`, the training loop: progress, evaluation, best on validation, early stopping, checkpoints, resume."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax import shard
from mtl_jax._core.checks import check_compute_dtype, check_numbers
from mtl_jax._core.errors import UserError
from mtl_jax._core.frozen import Frozen
from mtl_jax._core.packed import entries, unpacked
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
from mtl_jax.train._packing import packing_of
from mtl_jax.train._programs import batch_placement, compile_programs
from mtl_jax.train._progress import Progress
from mtl_jax.train._score import Best, judge, labelled
from mtl_jax.train._sparse import Sparse
from mtl_jax.train._start import Start, started
from mtl_jax.train._state import TrainState
from mtl_jax.train._transform import Transform
from mtl_jax.train.checkpoint import Checkpoints
from mtl_jax.train.clock import Clock
from mtl_jax.train.log import Log, flatten, read_log
from mtl_jax.train.run_dir import Resume, check_tasks, go_on, of_run, open_run


class NonFiniteError(UserError):
  """Training stopped because a loss or gradient was NaN or infinite; the parameters are those before that step."""


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
      better, such as `mtl.train.mean_loss`; None: the score above.
    accumulate: Cut each batch into this many pieces for the trunk's backward pass (see `arch.microbatch`).
    compute_dtype: For example `jnp.bfloat16`: compute in it; parameters, Gram matrix and optimizer stay float32.
    nonfinite: On a NaN or infinite loss or gradient, `"stop"` with an error, `"skip"` the step and count, `"ignore"`.
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
      written to.
    NonFiniteError: With `nonfinite="stop"`; names the tasks and the step.
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
  check_numbers({**counts, "patience": patience})
  balancer = as_balancer(balancer)
  check_optimizer(tx)
  check_compute_dtype(compute_dtype)
  check_nonfinite(nonfinite)
  check_functions({"score": score, "transform": transform, "start": start})
  check_needs("valid", valid, {"patience": patience, "score": score, "probe": loop.probe})
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
    scored = labelled(balanced(tasks), valid, _warn)
  if eval_every is None:
    eval_every = int(of_run(run_dir, resume, "eval_every") or max(1, steps // 10))
  checkpoint_every = eval_every if loop.checkpoint_every is None else loop.checkpoint_every
  settings: dict[str, Any] = {name: int(value) for name, value in {**counts, "eval_every": eval_every}.items()}
  settings |= {"tasks": list(tasks)}  # in the order of all state over tasks
  settings |= {"freeze_absent": freeze_absent, "frozen": [frozen] if isinstance(frozen, str) else list(frozen)}
  if sparse:
    settings["sparse"] = list(sparse)
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
  state = programs.create(jax.random.key(seed))
  best = Best()
  best_model = None if valid is None else jax.tree.map(jnp.copy, (state.params, state.state))
  history: list[dict[str, Any]] = []

  checkpoints, done = None, 0
  opened = contextlib.ExitStack()
  if run_dir is not None:
    run_dir = Path(run_dir)
    with contextlib.ExitStack() as opening:
      described = {**loop.config, "fit": settings}
      fingerprint = fingerprint_of(train, tx, state.params, frozen)
      opening.enter_context(open_run(run_dir, described, resume, data.describe(train, loop.about), fingerprint))
      checkpoints = opening.enter_context(Checkpoints(run_dir / "checkpoints"))
      found = checkpoints.restore_newest({"train": state, "best": best_model}, _warn)
      if found is not None:
        done, tree, notes = found
        check_tasks(run_dir, notes, list(tasks))
        state, best_model, best = tree["train"], tree["best"], Best(**notes["best"])
        loader.set_state(notes["loader"])
        history = [line for line in read_log(run_dir) if line["step"] <= done]
      go_on(run_dir, described, done, fingerprint, _warn)
      opened = opening.pop_all()

  if start is not None and done == 0:
    state = started(start, state, lambda model: programs.create(jax.random.key(seed), model))
    best_model = None if valid is None else jax.tree.map(jnp.copy, (state.params, state.state))

  clock = Clock()
  pending: list[Any] = []
  with (
    opened,
    Log(run_dir if shard.is_first() else None, since=done, tensorboard=loop.tensorboard) as log,
    Progress(steps, done, progress and shard.is_first(), loop.title) as bar,
  ):
    try:
      for step in range(done + 1, steps + 1):
        if patience is not None and best.evaluations_since >= patience:
          bar.say(f"stopped early at step {step - 1}: no better score for {patience} evaluations.")
          break
        state, metrics = programs.step(state, clock.wait(loader, pending[-1]["grad_norm"] if pending else None))
        pending.append(metrics)
        is_last = step == steps
        is_eval = valid is not None and (is_last or step % eval_every == 0)
        is_checkpoint = checkpoints is not None and (is_last or step % checkpoint_every == 0)
        if not (is_last or step % loop.log_every == 0 or is_eval or is_checkpoint):
          continue
        line = _mean(jax.device_get(pending))
        speed, waiting = clock.lap(len(pending))
        pending = []
        if nonfinite == "stop" and line["skipped"] > 0:
          raise NonFiniteError(_describe(state, list(balanced(tasks)), balancer))
        line |= {"examples_per_second": speed * batch_size, "waiting_for_data": waiting}
        history.append(_record(log, "train", step, line))
        bar.update(step, line["losses"], line["weights"], speed * batch_size)
        if valid is not None and is_eval:
          model = (state.params, state.state)
          scores = programs.evaluate(*model, valid)
          history.append(_record(log, "valid", step, scores))
          if loop.probe is not None:
            history.append(_record(log, "probe", step, loop.probe(state)))
          best = judge(best, step, {name: scores[name] for name in scored}, score, _warn)
          if best.step == step:
            best_model = jax.tree.map(jnp.copy, model)
        if checkpoints is not None and is_checkpoint:
          notes = {
            "tasks": list(tasks),
            "packing": packing_of(state.params),
            "best": dataclasses.asdict(best),
            "loader": loader.get_state(),
          }
          checkpoints.save(step, {"train": state, "best": best_model}, notes)
        clock.restart()
      if nonfinite == "skip" and int(state.skipped):
        bar.say(_describe(state, list(balanced(tasks)), balancer) + " Skipped.")
      if int(state.empty):
        bar.say(f"{int(state.empty)} of {int(state.step)} steps had no labels of any task, and changed nothing.")
    except UserError:
      raise
    except Exception:
      failing()  # before anything waits for the other processes
      raise
  if valid is not None and best.step == 0:
    _warn("no evaluation had a finite score: the last parameters are returned in place of the best.")
  if best_model is None or best.step == 0:
    best_model, best = (state.params, state.state), Best(step=int(state.step))
  params, net_state = unpacked(best_model)
  return Fit(state, params, net_state, best.step, history, clock.step_seconds(), best.score)


def _mean(lines: list[Any]) -> dict[str, Any]:
  """What the steps since the last line have in common: means of losses and weights, all else as it is now.

  Those of a task are over the steps with labels of it, NaN without any; `present` is the share of these steps.
  """
  by_task = {key: np.array([entries(line[key]) for line in lines]) for key in ("losses", "weights", "present")}
  here = by_task["present"] if by_task["present"].size else np.ones_like(by_task["losses"], bool)
  last = jax.tree.map(lambda leaf: leaf.tolist(), unpacked({k: v for k, v in lines[-1].items() if k not in by_task}))
  for key in ("losses", "weights"):
    with np.errstate(invalid="ignore"):
      means = np.sum(by_task[key], axis=0, where=here) / np.sum(here, axis=0)
    last[key] = dict(zip(lines[-1][key], means.tolist(), strict=True))
  last["present"] = dict(zip(lines[-1]["present"], by_task["present"].mean(axis=0).tolist(), strict=True))
  last["terms"] = {name: float(np.mean([line["terms"][name] for line in lines])) for name in last["terms"]}
  return {key: last[key] for key in lines[-1]}


def _record(log: Log, kind: str, step: int, values: Mapping[str, Any]) -> dict[str, Any]:
  log.write(kind, step, values)
  return {"kind": kind, "step": step, **flatten(values)}


def _describe(state: TrainState, names: list[str], balancer: Balancer) -> str:
  counts = jax.device_get(state.nonfinite)
  guilty = [f"{name!r} ({count} steps)" for name, count in zip(names, counts, strict=True) if count]
  what = f"the loss of task {', '.join(guilty)}" if guilty else "the gradient, though not a loss,"
  bound = np.max(np.asarray(balancer.losses_above))
  how = "NaN or infinite" if bound == -np.inf else f"NaN, infinite or not above {bound:g}, as this balancer needs it"
  return (
    f"{what} was {how}, first at step {int(state.first_nonfinite) + 1} "
    f"({int(state.skipped)} steps in all); the parameters are untouched by it."
  )


def _warn(message: str) -> None:
  if shard.is_first():
    warnings.warn(message, UserWarning, stacklevel=3)
