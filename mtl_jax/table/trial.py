"""Which network suits a table, and for how many steps, within a budget of time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from mtl_jax.data import batches
from mtl_jax.experiment import Experiment
from mtl_jax.experiment.run import fit_run
from mtl_jax.recipes import Splits
from mtl_jax.train import Loop, Programs

EPOCHS = 30
_LEAST, _MOST = 300, 10_000  # steps
_TIMED = 30  # steps, to see how long one takes
_SHARE = 3  # networks are compared after this part of the steps
_SLACK = 1.5  # for evaluation, compilation and what else takes time


class Choice(NamedTuple):
  """What was chosen.

  Attributes:
    network: The name of the network.
    steps: The number of steps to train.
    scores: The mean logarithm of the validation losses of each network that was tried; lower is better.
  """

  network: str
  steps: int
  scores: dict[str, float]


def batch_size_for(rows: int) -> int:
  """The batch size for a number of training rows.

  >>> batch_size_for(20), batch_size_for(1000), batch_size_for(100_000)
  (16, 32, 256)
  """
  return min(256, max(16, 2 ** int(math.log2(max(rows, 1) / 25 + 1))))


def steps_for(rows: int, batch_size: int) -> int:
  """Thirty passes over the training rows, within 300 and 10,000 steps.

  >>> steps_for(20_000, 256)
  2343
  """
  return min(_MOST, max(_LEAST, EPOCHS * rows // batch_size))


Train = Callable[[str, int], tuple[Experiment, Programs]]
"""`train(network, steps)`: the experiment and its programs, compiled once."""


def choose(
  train: Train,
  networks: Sequence[str],
  splits: Splits,
  steps: int,
  minutes: float,
  say: Callable[[str], None],
  progress: bool,
) -> Choice:
  """The network with the lowest validation losses after a third of the steps, and steps that fit into the time.

  Args:
    train: Of each network.
    networks: Those to try.
    splits: The table's arrays.
    steps: How many steps to train, if there is time.
    minutes: The time that there is, for everything: networks that are tried, the model, and one model per task.
    say: Prints a line of news.
    progress: Show progress bars.

  Returns:
    The choice.
  """
  begun, several = time.monotonic(), len(networks) > 1
  share = _SHARE if several else 1
  seconds = {network: _step_seconds(*train(network, -(-steps // share)), splits) for network in networks}
  models = 1 + len(train(networks[0], -(-steps // share))[0].config.tasks)
  tried = sum(seconds.values()) / share if several else 0.0
  each = _SLACK * (tried + models * max(seconds.values()))
  fitting = max(_TIMED, int((60 * minutes - (time.monotonic() - begun)) / each))
  if fitting < steps:
    say(f"{steps} steps do not fit into {minutes:g} minutes: {fitting} are trained, --minutes gives more.")
    steps = fitting
  if not several:
    return Choice(networks[0], steps, {})
  scores = {}
  for network in networks:
    experiment, programs = train(network, -(-steps // share))
    loop = Loop(title=network, programs=programs)
    scores[network] = fit_run(experiment, splits, progress=progress, loop=loop).score
    say(f"network {network}: mean log validation loss {scores[network]:.4f}")
  return Choice(min(scores, key=lambda name: scores[name]), steps, scores)


def _step_seconds(experiment: Experiment, programs: Programs, splits: Splits) -> float:
  """The time of a step, once it is compiled."""
  state = programs.create(jax.random.key(0))
  batch = next(iter(batches(splits.train, experiment.config.batch_size, sharding=jax.devices()[0])))
  begun = 0.0
  for i in range(_TIMED + 1):
    state, metrics = programs.step(state, batch)
    if i == 0:
      jax.block_until_ready(metrics)
      begun = time.perf_counter()
  jax.block_until_ready(state.params)
  return (time.perf_counter() - begun) / _TIMED
