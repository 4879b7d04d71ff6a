"""What runs when, and what is live then: a plan of names and numbers, made before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from mtl_jax.engine._backward.program import Name, Program, named


class Stage(NamedTuple):
  """A part of a backward pass, from what earlier stages left to what is wanted of it.

  Attributes:
    shared: The equations that are run once for all tasks, by index, in order.
    tasked: Those that are run for each task.
    reads: The tasked values that these read and an earlier stage made.
    makes: The tasked values that these make and somebody reads later, or wants.
    ended: Those of `reads` that nobody reads after this stage: their memory may be taken.
    stay: All values there are by then, shared or tasked, that a later stage reads.
  """

  shared: tuple[int, ...]
  tasked: tuple[int, ...]
  reads: tuple[Name, ...]
  makes: tuple[Name, ...]
  ended: frozenset[Name]
  stay: frozenset[Name]


def schedule(program: Program, wanted: Sequence[Collection[Name]], keep: bool = False) -> tuple[Stage, ...]:
  """The stages of a backward pass, each with as much of it as leads to what it wants, and no more.

  Args:
    program: The backward pass of one task.
    wanted: The names that each stage wants, in the order in which they will be asked for.
    keep: Whether what stages want stays to the end.
  """
  steps, done = [], set()
  for names in wanted:
    steps.append(_leading_to(program, names, done))
    done.update(steps[-1])
  last_use: dict[Name, int] = {}
  for stage, (indices, names) in enumerate(zip(steps, wanted, strict=True)):
    read = [name for i in indices for name in named(program.equations[i].inputs)]
    last_use.update(dict.fromkeys([*read, *names], stage))
  if keep:
    last_use.update({name: len(steps) for names in wanted for name in names})
  stages, live = [], {*program.constants, *program.own, *program.cotangents}
  for stage, (indices, names) in enumerate(zip(steps, wanted, strict=True)):
    made = {name for i in indices for name in program.equations[i].outputs}
    live = {name for name in live | made if last_use.get(name, -1) > stage}
    stages.append(_stage(program, indices, frozenset(names), frozenset(live)))
  return tuple(stages)


def _stage(program: Program, indices: Sequence[int], wanted: frozenset[Name], stay: frozenset[Name]) -> Stage:
  shared, tasked = [], []
  for i in indices:
    (tasked if program.tasked.issuperset(program.equations[i].outputs) else shared).append(i)
  made = {name for i in tasked for name in program.equations[i].outputs}
  read = program.tasked & {name for i in tasked for name in named(program.equations[i].inputs)} - made
  return Stage(
    shared=tuple(shared),
    tasked=tuple(tasked),
    reads=tuple(sorted(read)),
    makes=tuple(sorted(made & (wanted | stay))),
    ended=read - wanted - stay,
    stay=stay,
  )


def _leading_to(program: Program, wanted: Collection[Name], done: set[int]) -> list[int]:
  """The equations that lead to `wanted`, but for those done, in order."""
  found, open_ = set(), list(wanted)
  while open_:
    index = program.makers.get(open_.pop())
    if index is not None and index not in found and index not in done:
      found.add(index)
      open_.extend(named(program.equations[index].inputs))
  return sorted(found)
