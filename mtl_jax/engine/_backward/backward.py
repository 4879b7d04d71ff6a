"""A backward pass run for all tasks, in stages: any part of it when its values are wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._jaxpr.equations import convolves
from mtl_jax.engine._backward.order import zero_after
from mtl_jax.engine._backward.program import ZERO, Equation, Name, Program, named
from mtl_jax.engine._backward.running import Piece, Runner
from mtl_jax.engine._backward.schedule import Stage, schedule
from mtl_jax.engine._scatter import scattered
from mtl_jax.engine.linearized import Pullback


@dataclasses.dataclass(frozen=True)
class Backward:
  """A `Program` on its way, for all tasks of a pullback: what is to be run, and the values that are live now.

  The tasks of a value lie along the axis that whoever wants it names, else along the second. That makes one large
  product of the tasks' small ones, with operands that lie as they are needed: (B, T, out) times (out, in).

  Attributes:
    program: The backward pass of one task.
    stages: Its parts, in the order in which they are run.
    runner: How they are run for all tasks.
    axes: Where the tasks lie in each value, where they are stacked.
    shared: The live values that are the same for all tasks, by name; under `ZERO` a 0 that is there when everything
      reduced so far is.
    tasked: The live values of all tasks, as the runner holds them.
  """

  program: Program
  stages: tuple[Stage, ...]
  runner: Runner
  axes: dict[Name, int]
  shared: dict[Name, Any]
  tasked: dict[Name, Any]

  def run(self, stage: int) -> Backward:
    """After the equations of a stage."""
    program, now, shared = self.program, self.stages[stage], dict(self.shared)
    for i in now.shared:
      _evaluate(program.equations[i], shared)
    if not now.tasked:
      return dataclasses.replace(self, shared=shared)
    equations = [program.equations[i] for i in now.tasked]

    def of_one_task(*values):
      found = shared | dict(zip(now.reads, values, strict=True))
      for equation in equations:
        _evaluate(equation, found)
      return [found[name] for name in now.makes]

    piece = Piece(
      of_one_task,
      in_axes=tuple(self.axes[name] for name in now.reads),
      out_axes=[self.axes[name] for name in now.makes],
      ended=tuple(name in now.ended for name in now.reads),
      convolves=any(equation.eqn is not None and convolves(equation.eqn) for equation in equations),
      zero=shared[ZERO],
    )
    made = self.runner.run(piece, [self.tasked[name] for name in now.reads])
    tasked = self.tasked | dict(zip(now.makes, made, strict=True))
    return dataclasses.replace(self, shared=shared, tasked=tasked)

  def then(self, stage: int, reduced: jax.Array) -> Backward:
    """Without what no stage after this one reads; nothing that is still to come runs before the scalar `reduced`."""
    stay, zero = self.stages[stage].stay, zero_after(reduced)
    shared = {name: value for name, value in self.shared.items() if name in stay} | {ZERO: zero}
    tasked = self.runner.wait({name: value for name, value in self.tasked.items() if name in stay}, zero)
    return dataclasses.replace(self, shared=shared, tasked=tasked)

  def get(self, name: Name, axis: int = 0) -> jax.Array:
    """A value: as it is when it is the same for all tasks, else those of all tasks stacked along `axis`."""
    if name not in self.program.tasked:
      return self.shared[name]
    return self.runner.stacked(self.tasked[name], self.axes[name], axis)

  def of_all(self, name: Name) -> jax.Array:
    """A value of all tasks, (T, ...), the same one T times where it is the same for all."""
    value = self.get(name)
    return value if name in self.program.tasked else jnp.broadcast_to(value, (self.runner.tasks, *value.shape))

  def rows(self, name: Name) -> jax.Array:
    """The gradients of a parameter, (T, ...), `scattered` over devices."""
    if name not in self.program.tasked:
      return scattered(self.of_all(name), 1)
    return self.runner.rows(self.tasked[name], self.axes[name])


def begin(
  program: Program, pullback: Pullback, wanted: Sequence[Mapping[Name, int]], runner: Runner, *, keep: bool = False
) -> Backward:
  """A backward pass before its first stage.

  Args:
    program: The backward pass of one task.
    pullback: Its tasks.
    wanted: What each stage wants, in the order in which they will be asked for: names, and the axis of the tasks.
    runner: How it is run for all tasks.
    keep: Whether what stages want stays as it is.
  """
  asked = {name: axis for names in reversed(wanted) for name, axis in names.items()}
  axes = {name: min(asked.get(name, 1), rank) for name, rank in program.ranks.items()}
  cotangents = runner.cotangents(pullback, [axes[name] for name in program.cotangents])
  zero = zero_after(next(iter(jax.tree.leaves(cotangents)), jnp.zeros(())))
  return Backward(
    program,
    schedule(program, wanted, keep),
    runner,
    axes,
    program.constants | {ZERO: zero},
    {name: runner.held(value, axes[name]) for name, value in program.own.items()}
    | dict(zip(program.cotangents, cotangents, strict=True)),
  )


def _evaluate(equation: Equation, values: dict[Name, Any]) -> None:
  """Adds what the equation makes to the values."""
  results = equation.function(*(values[name] for name in named(equation.inputs)))
  values.update(zip(equation.outputs, results, strict=True))
