"""A run on its way: steps, log lines, evaluations, checkpoints, and what becomes of mishaps."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import shard
from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import entries, unpacked
from mtl_jax.balance.balancer import Balancer
from mtl_jax.tasks import Task, balanced
from mtl_jax.train._evaluate import Metrics
from mtl_jax.train._finish import WAITING
from mtl_jax.train._loop import Loop
from mtl_jax.train._packing import packing_of
from mtl_jax.train._preemption import Preempted
from mtl_jax.train._programs import Programs
from mtl_jax.train._progress import Progress
from mtl_jax.train._rollback import MOST, slowed
from mtl_jax.train._score import Best, judge
from mtl_jax.train._start import Start, started
from mtl_jax.train._state import TrainState
from mtl_jax.train.checkpoint import Checkpoints
from mtl_jax.train.clock import Clock
from mtl_jax.train.log import Log, flatten
from mtl_jax.train.run_dir import check_tasks


class NonFiniteError(UserError):
  """Training stopped because a loss or gradient was NaN or infinite; the parameters are those before that step."""


@dataclasses.dataclass
class Running:
  """A run: what it is made of, and what it has come to.

  Attributes:
    programs: Its jitted functions.
    loader: Its batches.
    first: Where these began.
    create: `create(model=None) -> state`, the state before the first step, of the net's own model or of another.
    start: As in `fit`.
    tasks: The tasks.
    balancer: The balancer.
    valid: The validation data, or None.
    scored: The tasks that the best model is chosen by.
    score: As in `fit`.
    loop: How it is watched.
    steps: How many steps it has.
    batch_size: Examples a step.
    eval_every: Steps between evaluations.
    checkpoint_every: Steps between checkpoints.
    patience: As in `fit`.
    best_from: As in `fit`.
    nonfinite: As in `fit`.
    state: The state after the step `done`.
    best_model: The best parameters so far, and the net's state with them; None: there are no validation data.
    best: The best evaluation so far.
    history: The lines of the log.
    done: How many steps it has made.
    rollbacks: How often it has gone back to a checkpoint.
    stopped: That it was stopped before its last step, so that it can go on elsewhere; None: it was not.
    clock: Its steps' times.
    kept: Its directory and checkpoints there; None: nothing is written.
  """

  programs: Programs
  loader: Any
  first: Any
  create: Callable[..., TrainState]
  start: Start | None
  tasks: Mapping[str, Task]
  balancer: Balancer
  valid: Any
  scored: Sequence[str]
  score: Callable[[Metrics], float] | None
  loop: Loop
  steps: int
  batch_size: int
  eval_every: int
  checkpoint_every: int
  patience: int | None
  best_from: int
  nonfinite: str
  state: TrainState
  best_model: tuple[Any, Any] | None = None
  best: Best = dataclasses.field(default_factory=Best)
  history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  done: int = 0
  rollbacks: int = 0
  stopped: Preempted | None = None
  clock: Clock = dataclasses.field(default_factory=Clock)
  kept: tuple[Path, Checkpoints] | None = None

  def recall(self) -> bool:
    """Goes to the newest undamaged checkpoint; False: there is none."""
    if self.kept is None:
      return False
    run_dir, checkpoints = self.kept
    like = None if self.valid is None else (self.state.params, self.state.state)
    found = checkpoints.restore_newest({"train": self.state, "best": like}, warn)
    if found is None:
      return False
    self.done, tree, notes = found
    check_tasks(run_dir, notes, list(self.tasks))
    self.state, self.best_model, self.best = tree["train"], tree["best"], Best(**notes["best"])
    self.loader.set_state(notes["loader"])
    self.rollbacks = notes.get("rollbacks", 0)
    return True

  def begin(self, state: TrainState) -> None:
    """Goes to the beginning, with the state that `create` has made."""
    self.state = state if self.start is None else started(self.start, state, self.create)
    self.done, self.best = 0, Best()
    self.best_model = None if self.valid is None else jax.tree.map(jnp.copy, (self.state.params, self.state.state))

  def go(self, log: Log, bar: Progress, noticed: Callable[[int], bool]) -> None:
    """Makes the steps that are left.

    Args:
      log: Where the lines go.
      bar: The progress bar.
      noticed: `noticed(step)`: whether the run should stop after the step, with a checkpoint of it.

    Raises:
      NonFiniteError: As in `fit`.
    """
    pending: list[Any] = []
    while self.done < self.steps:
      if self.patience is not None and self.best.evaluations_since >= self.patience:
        bar.say(f"stopped early at step {self.done}: no better score for {self.patience} evaluations.")
        break
      last = pending[-1]["grad_norm"] if pending else None
      self.state, metrics = self.programs.step(self.state, self.clock.wait(self.loader, last))
      pending.append(metrics)
      self.done = step = self.done + 1
      stops, is_last = noticed(step), step == self.steps
      is_eval = self.valid is not None and (is_last or step % self.eval_every == 0)
      is_checkpoint = self.kept is not None and (is_last or stops or step % self.checkpoint_every == 0)
      if not (is_last or step % self.loop.log_every == 0 or is_eval or is_checkpoint):
        continue
      line = _mean(jax.device_get(pending))
      speed, waiting = self.clock.lap(len(pending))
      pending = []
      if line["skipped"] > 0 and self.nonfinite in WAITING:
        self._go_back(log, bar)
        continue
      line |= {"examples_per_second": speed * self.batch_size, "waiting_for_data": waiting}
      self._record(log, "train", line)
      bar.update(step, line["losses"], line["weights"], speed * self.batch_size)
      if is_eval:
        self._evaluate(log)
      if is_checkpoint:
        self._save()
      if stops and not is_last and self.kept is not None:
        self.stopped = Preempted(step, self.kept[0])
        return
      self.clock.restart()
    if self.nonfinite in ("skip", "drop") and int(self.state.first_nonfinite) >= 0:
      bar.say(self._mishap())
    if int(self.state.empty):
      of = f"{int(self.state.empty)} of {int(self.state.step)} steps"
      bar.say(f"{of} had no labels of any task, and changed nothing.")

  def _evaluate(self, log: Log) -> None:
    model = (self.state.params, self.state.state)
    scores = self.programs.evaluate(*model, self.valid)
    self._record(log, "valid", scores)
    if self.loop.probe is not None:
      self._record(log, "probe", self.loop.probe(self.state))
    if self.done < self.best_from:
      return
    self.best = judge(self.best, self.done, {name: scores[name] for name in self.scored}, self.score, warn)
    if self.best.step == self.done:
      self.best_model = jax.tree.map(jnp.copy, model)

  def _save(self) -> None:
    assert self.kept is not None
    notes = {
      "tasks": list(self.tasks),
      "packing": packing_of(self.state.params),
      "best": dataclasses.asdict(self.best),
      "loader": self.loader.get_state(),
      "rollbacks": self.rollbacks,
    }
    self.kept[1].save(self.done, {"train": self.state, "best": self.best_model}, notes)

  def _go_back(self, log: Log, bar: Progress) -> None:
    """Goes to the newest checkpoint, or the beginning, with a lower learning rate; raises where that is not wanted."""
    told, rollbacks, at = self._mishap(), self.rollbacks + 1, int(self.state.first_nonfinite) + 1
    if self.nonfinite != "rollback":
      raise NonFiniteError(told)
    if rollbacks > MOST:
      raise NonFiniteError(f"{told} The run has gone back {MOST} times already, to ever lower learning rates.")
    if not self.recall():
      self.loader.set_state(self.first)
      self.begin(self.create())
    self.rollbacks, self.state = rollbacks, slowed(self.state, rollbacks)
    log.rewind(self.done)
    self.history = [line for line in self.history if line["step"] <= self.done]
    factor = float(self.state.opt_state[-1].hyperparams["step_size"])
    self._record(log, "rollback", {"from": at, "rollbacks": rollbacks, "learning_rate_factor": factor})
    bar.say(f"{told} Back to step {self.done}, with the learning rate times {factor:g}.")
    self.clock.restart()

  def _record(self, log: Log, kind: str, values: Mapping[str, Any]) -> None:
    log.write(kind, self.done, values)
    self.history.append({"kind": kind, "step": self.done, **flatten(values)})

  def _mishap(self) -> str:
    """Whose loss was not finite, how often, and what became of the parameters."""
    names, counts = list(balanced(self.tasks)), jax.device_get(self.state.nonfinite)
    guilty = [f"{name!r} ({count} steps)" for name, count in zip(names, counts, strict=True) if count]
    what = f"the loss of task {', '.join(guilty)}" if guilty else "the gradient, though not a loss,"
    bound = np.max(np.asarray(self.balancer.losses_above))
    how = "NaN or infinite" if bound == -np.inf else f"NaN, infinite or not above {bound:g}, as this balancer needs it"
    skipped = int(self.state.skipped)
    done = f"({skipped} steps in all); the parameters are untouched by it." if skipped else "and left out of the step."
    return f"{what} was {how}, first at step {int(self.state.first_nonfinite) + 1} {done}"


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


def warn(message: str) -> None:
  """Tells it once, on the first process."""
  if shard.is_first():
    warnings.warn(message, UserWarning, stacklevel=4)
