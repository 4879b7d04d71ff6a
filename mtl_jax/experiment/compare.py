"""Comparing balancers and architectures on a recipe with single-task training of the same network and budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax._core.checks import check_numbers, check_once
from mtl_jax._core.errors import UserError
from mtl_jax._core.files import holds_more_than, locked, using
from mtl_jax.arch import Architecture, as_arch
from mtl_jax.balance import Balancer, as_balancer, rescale
from mtl_jax.experiment.comparison import SINGLE, Comparison, write
from mtl_jax.experiment.config import Experiment, RunConfig, configure
from mtl_jax.experiment.finished import Finished, begin, holds_comparison, unless_in_vain
from mtl_jax.experiment.runs import Others, Plan, planned
from mtl_jax.recipes import Recipe


def compare(
  recipe: str | Recipe,
  balancers: Sequence[str] | Mapping[str, Balancer | str],
  archs: Sequence[str] | Mapping[str, Architecture | str] | None = None,
  *,
  seeds: int = 1,
  single_task: bool = True,
  out: str | Path | None = None,
  resume: bool = False,
  skip: bool = False,
  progress: bool = True,
  say: Callable[[str], None] = print,
  others: Others | None = None,
  kept: Mapping[str, Any] | None = None,
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
    out: The directory for `comparison.csv`, `comparison.json` and the pictures, and for each finished run; None:
      nothing is written.
    resume: Go on with the comparison in `out`, with more seeds, too: what is finished there is not trained again.
    skip: Leave out architectures that do not serve the recipe, and say so, instead of failing.
    progress: Show progress bars.
    say: Prints a line of news.
    others: Other programs that train for the same comparison, by `mtl.experiment.join`; None: there are none.
    kept: More JSON that determines the comparison, such as the options of balancers; one that goes on must have the
      same.
    **options: As `mtl_jax.experiment.RunConfig` has them, such as `steps`, `batch_size`, `learning_rate`, `tasks`,
      `engine` and `scale`; what is not given is the recipe's.

  Returns:
    The comparison: `print(comparison)` shows its table.

  Raises:
    UserError: No balancers or seeds, an unknown name or option, or a directory that is in use, not empty, not writable
      or of another comparison.
  """
  plan_of = _planner(recipe, balancers, archs, seeds, options)
  if out is None:
    plan = plan_of(single_task, skip, say)
    return plan.judged(plan.made(Finished(), progress, say))
  out_dir = Path(out)
  _check_place(out_dir, resume)
  with locked(out_dir):
    _check_place(out_dir, resume)  # once more: now nobody else fills it
    plan = plan_of(single_task, skip, say)
    begin(out_dir, plan.described() | {"kept": kept or {}})
    with unless_in_vain(out_dir):
      results = plan.made(Finished(out_dir), progress, say, others)
    comparison = plan.judged(results)
    with using(out_dir):
      write(out_dir, plan.base.config, seeds, comparison, results)
    return comparison


def join(
  out: str | Path,
  recipe: str | Recipe,
  balancers: Sequence[str] | Mapping[str, Balancer | str],
  archs: Sequence[str] | Mapping[str, Architecture | str] | None = None,
  *,
  seeds: int = 1,
  single_task: bool = True,
  skip: bool = False,
  say: Callable[[str], None] = print,
  first: int = 0,
  kept: Mapping[str, Any] | None = None,
  **options: Any,
) -> None:
  """Trains for the comparison that another program has begun in `out`, until nothing is left that nobody trains.

  Args:
    out: The directory, which all programs see.
    recipe: This and the others as in `compare`.
    balancers: See there.
    archs: See there.
    seeds: See there.
    single_task: See there.
    skip: See there.
    say: See there.
    first: The number of the method to begin with, so that programs begin with different ones.
    kept: See there.
    **options: See there.

  Raises:
    UserError: As in `compare`; or nobody has begun this comparison there.
  """
  plan_of = _planner(recipe, balancers, archs, seeds, options)
  out_dir = Path(out)
  if not holds_comparison(out_dir):
    raise UserError(f"{out_dir} holds no comparison to join: begin it first.")
  plan = plan_of(single_task, skip, say)
  begin(out_dir, plan.described() | {"kept": kept or {}})
  for title, seed, run in plan.making(Finished(out_dir), False, first):
    say(plan.told(title, seed, run))


def _planner(
  recipe: str | Recipe,
  balancers: Sequence[str] | Mapping[str, Balancer | str],
  archs: Sequence[str] | Mapping[str, Architecture | str] | None,
  seeds: int,
  options: Mapping[str, Any],
) -> Callable[[bool, bool, Callable[[str], None]], Plan]:
  """Checks what can be without data; `plan_of(single_task, skip, say)` then makes these."""
  base = configure(recipe, **options)
  methods = _methods(base, _balancers(balancers, base.config), archs)
  check_numbers({"seeds": seeds})
  return lambda single_task, skip, say: planned(base, methods, single_task, seeds, skip, say)


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


def _check_place(out_dir: Path, resume: bool) -> None:
  with using(out_dir):
    if out_dir.exists() and not out_dir.is_dir():
      raise UserError(f"{out_dir} is a file: choose a directory.")
    if not holds_comparison(out_dir):
      if holds_more_than(out_dir):
        raise UserError(f"{out_dir} is not empty: choose another directory.")
    elif not resume:
      raise UserError(f"{out_dir} holds a comparison: go on with it (--resume), or choose another directory.")
