"""Comparing balancers and architectures on a recipe with single-task training of the same network and budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.checks import check_numbers, check_once
from mtl_jax._core.errors import UserError
from mtl_jax._core.files import holds_more_than, locked, using
from mtl_jax._core.shapes import shapes
from mtl_jax.arch import Architecture, as_arch
from mtl_jax.balance import Balancer, as_balancer, equal, rescale
from mtl_jax.data import Description, describe
from mtl_jax.data.arrays import as_arrays, take
from mtl_jax.experiment.comparison import SINGLE, Comparison, Run, judge, run_of, told, write
from mtl_jax.experiment.config import Experiment, RunConfig, batch_of, configure, data_of, in_step, problem_of
from mtl_jax.experiment.run import compile_run, cosine_probe, train_run
from mtl_jax.objective import objective
from mtl_jax.recipes import Recipe, Splits
from mtl_jax.tasks import Task, balanced
from mtl_jax.train import Loop, Programs

MOST_COSINES = 32
"""Of more tasks no cosines are taken: they need all task gradients at once."""


def compare(
  recipe: str | Recipe,
  balancers: Sequence[str] | Mapping[str, Balancer | str],
  archs: Sequence[str] | Mapping[str, Architecture | str] | None = None,
  *,
  seeds: int = 1,
  single_task: bool = True,
  out: str | Path | None = None,
  skip: bool = False,
  progress: bool = True,
  say: Callable[[str], None] = print,
  **options: Any,
) -> Comparison:
  """Trains single-task baselines and every method, with every seed, and compares them on the test data.

  A method is a balancer with an architecture. The baselines are the recipe's own network with one task, trained with
  the same steps and seeds on the examples that the task labels. The best models are those on the validation data.

  Args:
    recipe: The recipe, of your own too, or its name as in `mtl.recipes.find`.
    balancers: Names in `mtl.balance.names()`, or balancers by the names they have in the comparison.
    archs: Names in `mtl.arch.names()`, or architectures by the names they have in the comparison, each of which is
      trained with each balancer; None: the recipe's own.
    seeds: The number of seeds, 0, 1, ...
    single_task: Train the baselines, one network per task; False: there is no Delta_m, as where tasks are hundreds.
    out: The directory for `comparison.csv`, `comparison.json` and the pictures; None: nothing is written.
    skip: Leave out architectures that do not serve the recipe, and say so, instead of failing.
    progress: Show progress bars.
    say: Prints a line of news.
    **options: As `mtl_jax.experiment.RunConfig` has them, such as `steps`, `batch_size`, `learning_rate`, `tasks`,
      `engine` and `scale`; what is not given is the recipe's.

  Returns:
    The comparison: `print(comparison)` shows its table.

  Raises:
    UserError: No balancers or seeds, an unknown name or option, or a directory that is in use, not empty or not
      writable.
  """
  base = configure(recipe, **options)
  methods = _methods(base, _balancers(balancers, base.config), archs)
  check_numbers({"seeds": seeds})
  if out is None:
    return _compare(base, methods, seeds, single_task, skip, progress, say)[0]
  out_dir = Path(out)
  _check_empty(out_dir)
  with locked(out_dir):
    _check_empty(out_dir)  # once more: now nobody else fills it
    comparison, results = _compare(base, methods, seeds, single_task, skip, progress, say)
    with using(out_dir):
      write(out_dir, base.config, seeds, comparison, results)
    return comparison


def _methods(
  base: Experiment,
  balancers: Mapping[str, Balancer],
  archs: Sequence[str] | Mapping[str, Architecture | str] | None,
) -> dict[str, Experiment]:
  """The experiment of each method, by a name that tells it from the others."""
  if archs is None:
    return {name: base._replace(balancer=balancer) for name, balancer in balancers.items()}
  if isinstance(archs, str):
    raise UserError(f"archs is {archs!r}, expected a list of names: [{archs!r}].")
  if not archs:
    raise UserError("compare: archs is empty, expected at least one architecture, or None: the recipe's own.")
  if not isinstance(archs, Mapping):
    check_once("archs", list(archs))
    archs = {name: name for name in archs}
  made = {name: as_arch(arch, f"architecture {name!r}") for name, arch in archs.items()}

  def told(arch: str, balancer: str) -> str:
    return arch if len(balancers) == 1 else balancer if len(made) == 1 else f"{arch} {balancer}"

  return {
    told(a, b): base._replace(arch=arch, balancer=balancer)
    for a, arch in made.items()
    for b, balancer in balancers.items()
  }


def _balancers(balancers: Sequence[str] | Mapping[str, Balancer | str], config: RunConfig) -> dict[str, Balancer]:
  """The balancers by their names, on the scale of the configuration."""
  if not balancers:
    raise UserError("compare needs at least one balancer.")
  if isinstance(balancers, str):
    raise UserError(f"balancers is {balancers!r}, expected a list of names: [{balancers!r}].")
  if not isinstance(balancers, Mapping):
    check_once("balancers", list(balancers))
    balancers = {name: as_balancer(name) for name in balancers}
  for name in balancers:
    if name.partition(" ")[0] == SINGLE:
      raise UserError(f"a balancer is named {name!r}, as the baseline is: choose another name.")
  return {
    name: rescale(as_balancer(balancer, f"balancer {name!r}"), config.scale) for name, balancer in balancers.items()
  }


def _check_empty(out_dir: Path) -> None:
  with using(out_dir):
    if out_dir.exists() and not out_dir.is_dir():
      raise UserError(f"{out_dir} is a file: choose a directory.")
    if holds_more_than(out_dir):
      raise UserError(f"{out_dir} is not empty: choose another directory.")


def _compare(
  base: Experiment,
  methods: Mapping[str, Experiment],
  seeds: int,
  single_task: bool,
  skip: bool,
  progress: bool,
  say: Callable[[str], None],
) -> tuple[Comparison, dict[str, list[Run]]]:
  splits = data_of(base)
  described = describe(splits.train, splits.about)
  tasks = balanced(problem_of(base, described).tasks)
  programs, chosen = {}, {}
  for name, experiment in methods.items():  # all of them before the first is trained
    try:
      compiled = compile_run(experiment, splits)
      _try(experiment, compiled, splits, described)
    except UserError as error:
      if not skip:
        raise
      say(f"{name} is left out: {error}")
    else:
      programs[name], chosen[name] = compiled, experiment
  jobs: dict[str, tuple[Experiment, Splits]] = {}
  for name, task in tasks.items() if single_task else ():
    jobs[f"{SINGLE} {name}"] = alone(base, splits, name, task)
  jobs |= {name: (experiment, splits) for name, experiment in chosen.items()}
  results: dict[str, list[Run]] = {}
  for title, (experiment, own) in jobs.items():
    compiled = programs.pop(title, None) or compile_run(experiment, own)
    probe = cosine_probe(experiment, own) if 1 < len(experiment.config.tasks) <= MOST_COSINES else None
    results[title] = runs = []
    for seed in range(seeds):
      fit, test = train_run(
        experiment._replace(config=dataclasses.replace(experiment.config, seed=seed)),
        own,
        progress=progress,
        loop=Loop(title=f"{title} seed {seed}", probe=probe, programs=compiled),
      )
      runs.append(run_of(fit, test))
      say(f"{title} seed {seed}: {told({t: (tasks[t].main_metric, m) for t, m in test.items() if t in tasks})}")
  return judge(base.config.steps, tasks, list(chosen), results), results


def alone(base: Experiment, splits: Splits, name: str, task: Task) -> tuple[Experiment, Splits]:
  """The baseline of a task: the experiment of it alone, with the recipe's own network, on the examples it labels."""
  config = dataclasses.replace(base.config, tasks=(name,))
  own = labelled(splits.only([name]), task, config.batch_size)
  return base._replace(config=config, balancer=equal(), arch=None), own


def labelled(splits: Splits, task: Task, batch_size: int) -> Splits:
  """The splits with those training examples alone that a task labels: others would only thin out its batches.

  Args:
    splits: The splits.
    task: The task.
    batch_size: Examples are repeated where there are fewer.

  Returns:
    The splits; themselves where all examples are labelled.
  """
  if task.mask is None:
    return splits
  weights = np.asarray(task.mask(splits.train))
  rows = np.flatnonzero(np.any(weights > 0, axis=tuple(range(1, weights.ndim))))
  if len(rows) in (0, len(weights)):
    return splits
  return splits._replace(train=take(as_arrays(splits.train), np.resize(rows, max(len(rows), batch_size))))


def _try(experiment: Experiment, programs: Programs, splits: Splits, described: Description) -> None:
  """Raises the `UserError` of a network that does not fit the data, without computing anything."""
  problem = in_step(problem_of(experiment, described), splits.train)
  batch = batch_of(described, experiment.config.batch_size)
  losses, key = objective(problem).at_step, jax.random.key(0)
  assert losses is not None
  state = shapes(programs.create, key)
  jax.eval_shape(losses(jnp.int32(0)), state.params, state.state, batch, key)
