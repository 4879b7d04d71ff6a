"""A comparison before and while its runs are made, by one program or several."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.shapes import shapes
from mtl_jax.balance import equal
from mtl_jax.data import Description, describe
from mtl_jax.experiment.comparison import SINGLE, Comparison, Run, judge, run_of, told
from mtl_jax.experiment.config import Experiment, batch_of, data_of, in_step, problem_of
from mtl_jax.experiment.finished import Finished
from mtl_jax.experiment.labelled import labelled
from mtl_jax.experiment.run import compile_run, cosine_probe, train_run
from mtl_jax.objective import objective
from mtl_jax.recipes import Splits
from mtl_jax.tasks import Task, balanced
from mtl_jax.train import Loop, Programs

MOST_COSINES = 32
"""Of more tasks no cosines are taken: they need all task gradients at once."""


class Others(NamedTuple):
  """Other programs that train for the same comparison.

  Attributes:
    begin: `begin()`, called when the comparison is written down, so that they can join it.
    working: `working()`: whether some of them still are.
    alone: Whether this program leaves all training to them as long as they are working.
  """

  begin: Callable[[], None] = lambda: None
  working: Callable[[], bool] = lambda: False
  alone: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
  """What runs a comparison has.

  Attributes:
    base: The experiment that all have in common.
    methods: That of each method, by its name.
    programs: The compiled programs of each.
    splits: The data.
    tasks: The tasks that are compared.
    single_task: Whether there are baselines.
    seeds: How many runs there are of each.
  """

  base: Experiment
  methods: Mapping[str, Experiment]
  programs: Mapping[str, Programs]
  splits: Splits
  tasks: Mapping[str, Task]
  single_task: bool
  seeds: int

  @property
  def titles(self) -> list[str]:
    """The baselines, then the methods."""
    return [*(f"{SINGLE} {name}" for name in self.tasks if self.single_task), *self.methods]

  def described(self) -> dict[str, Any]:
    """What determines each run, as JSON."""
    data, config = describe(self.splits.train, self.splits.about), dataclasses.asdict(self.base.config)
    return {"config": config, "methods": list(self.methods), "single_task": self.single_task, "data": data.as_json()}

  def making(self, finished: Finished, progress: bool, first: int = 0) -> Iterator[tuple[str, int, Run]]:
    """Makes all runs that are not finished and that no other program makes, and gives each when it is finished.

    Args:
      finished: Where they are kept.
      progress: Whether progress bars are shown.
      first: The number of the title to begin with.
    """
    titles = self.titles
    for title in [*titles[first % len(titles) :], *titles[: first % len(titles)]]:
      made = None
      for seed in range(self.seeds):
        with finished.claim(title, seed) as mine:
          if not mine:
            continue
          experiment, splits, loop = made = made or self._prepared(title)
          fit, test = train_run(
            experiment._replace(config=dataclasses.replace(experiment.config, seed=seed)),
            splits,
            progress=progress,
            loop=dataclasses.replace(loop, title=f"{title} seed {seed}"),
          )
          run = run_of(fit, test)
          finished.put(title, seed, run)
        yield title, seed, run

  def _prepared(self, title: str) -> tuple[Experiment, Splits, Loop]:
    """The experiment of a title, its data, and what its seeds share."""
    if title in self.methods:
      experiment, splits, programs = self.methods[title], self.splits, self.programs[title]
    else:
      name = title.removeprefix(f"{SINGLE} ")
      experiment, splits = alone(self.base, self.splits, name, self.tasks[name])
      programs = compile_run(experiment, splits)
    several = 1 < len(experiment.config.tasks) <= MOST_COSINES
    return experiment, splits, Loop(probe=cosine_probe(experiment, splits) if several else None, programs=programs)

  def made(
    self, finished: Finished, progress: bool, say: Callable[[str], None], others: Others | None = None
  ) -> dict[str, list[Run]]:
    """All runs, `{title: one a seed}`: those that were finished before, and those that this program and others make."""
    others, said = others or Others(), set()
    wanted = [(title, seed) for title in self.titles for seed in range(self.seeds)]

    def news() -> bool:
      """Tells what is new; whether that is all."""
      for each in wanted:
        if each not in said and (run := finished.get(*each)) is not None:
          said.add(each)
          say(self.told(*each, run))
      return len(said) == len(wanted)

    others.begin()
    while not news():
      if not (others.alone and others.working()):
        for _ in self.making(finished, progress):
          news()
      if not news():
        time.sleep(0.2)
    found = {each: run for each in wanted if (run := finished.get(*each)) is not None}
    return {title: [found[title, seed] for seed in range(self.seeds)] for title in self.titles}

  def told(self, title: str, seed: int, run: Run) -> str:
    """A line about a finished run."""
    scores = {name: (self.tasks[name].main_metric, own) for name, own in run.test.items() if name in self.tasks}
    return f"{title} seed {seed}: {told(scores)}"

  def judged(self, results: Mapping[str, list[Run]]) -> Comparison:
    """The comparison of finished runs."""
    return judge(self.base.config.steps, self.tasks, list(self.methods), results)


def planned(
  base: Experiment,
  methods: Mapping[str, Experiment],
  single_task: bool,
  seeds: int,
  skip: bool,
  say: Callable[[str], None],
) -> Plan:
  """The plan of a comparison, whose methods all have been tried on shapes; data are made here.

  Args:
    base: As in `Plan`.
    methods: As in `Plan`.
    single_task: As in `Plan`.
    seeds: As in `Plan`.
    skip: Whether a method that does not serve the recipe is left out, and told, or an error.
    say: Prints a line of news.
  """
  splits = data_of(base)
  described = describe(splits.train, splits.about)
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
  tasks = balanced(problem_of(base, described).tasks)
  return Plan(base, chosen, programs, splits, tasks, single_task, seeds)


def alone(base: Experiment, splits: Splits, name: str, task: Task) -> tuple[Experiment, Splits]:
  """The baseline of a task: the experiment of it alone, with the recipe's own network, on the examples it labels."""
  config = dataclasses.replace(base.config, tasks=(name,))
  own = splits.only([name])
  own = own._replace(train=labelled(own.train, task, config.batch_size))
  return base._replace(config=config, balancer=equal(), arch=None), own


def _try(experiment: Experiment, programs: Programs, splits: Splits, described: Description) -> None:
  """Raises the `UserError` of a network that does not fit the data, without computing anything."""
  problem = in_step(problem_of(experiment, described), splits.train)
  batch = batch_of(described, experiment.config.batch_size)
  losses, key = objective(problem).at_step, jax.random.key(0)
  assert losses is not None
  state = shapes(programs.create, key)
  jax.eval_shape(losses(jnp.int32(0)), state.params, state.state, batch, key)
