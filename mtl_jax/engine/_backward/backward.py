"""A backward pass run for all tasks, in stages: any part of it when its values are wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.pieces import even, in_pieces
from mtl_jax._jaxpr.equations import convolves
from mtl_jax.engine._backward.program import (
  ZERO,
  Name,
  Program,
  after,
  evaluate,
  leading_to,
  named,
  zero_after,
)
from mtl_jax.engine._scatter import scattered
from mtl_jax.engine.linearized import Pullback

AT_ONCE = 8  # tasks a batch on CPU: products of full speed, and what is made on the way does not grow with T


class Backward:
  """A run of a `Program` for all tasks of a pullback, in stages; what no later stage reads is dropped.

  The tasks of a value are stacked along an axis that whoever wants it names, else along the second. That makes one
  large product of the tasks' small ones, with operands that lie as they are needed: (B, T, out) times (out, in).

  Args:
    program: The backward pass of one task.
    pullback: Its tasks.
    stages: What each stage wants, in the order in which they will be asked for: names, and the axis of the tasks.
    at_once: How many tasks run as one batch, on CPU, but in turn where there are convolutions; elsewhere all do. None:
      one task after the other, without a loop.
    keep: Whether what stages want stays as it is.
  """

  def __init__(
    self,
    program: Program,
    pullback: Pullback,
    stages: list[dict[Name, int]],
    *,
    at_once: int | None,
    keep: bool = False,
  ):
    self.program, self.count, self.at_once = program, len(pullback.cotangents), at_once
    self.in_place = at_once is not None and devices.on_one_cpu()
    self.shared, self.first = dict(program.constants), jnp.zeros((), jnp.int32)
    self.axes = {name: axis for wanted in reversed(stages) for name, axis in wanted.items()}
    cotangents = self._separate(pullback) if at_once is None else self._stacked(pullback)
    self.values: dict[Name, Any] = dict(zip(program.cotangents, cotangents, strict=True))
    self.shared[ZERO] = zero_after(next(iter(jax.tree.leaves(cotangents)), self.first))
    self.stages, self.todo, done = stages, [], set()
    for wanted in stages:
      self.todo.append(leading_to(program, wanted, done))
      done.update(self.todo[-1])
    self.last_use: dict[Name, int] = {}
    for stage, (indices, wanted) in enumerate(zip(self.todo, stages, strict=True)):
      inputs = [name for i in indices for name in named(program.equations[i].inputs)]
      self.last_use.update(dict.fromkeys([*inputs, *wanted], stage))
    if keep:
      self.last_use.update({name: len(stages) for wanted in stages for name in wanted})

  def _separate(self, pullback: Pullback) -> list[tuple[jax.Array, ...]]:
    return list(zip(*(jax.tree.leaves(cotangent) for cotangent in pullback.cotangents), strict=True))

  def _stacked(self, pullback: Pullback) -> list[jax.Array]:
    """The cotangents of all tasks, made one after the other, so that only the stack need exist."""
    likes = jax.tree.leaves(pullback.cotangents[0])
    axes = [self._axis(name, jnp.ndim(like)) for name, like in zip(self.program.cotangents, likes, strict=True)]
    stacks = [
      jnp.zeros((*like.shape[:axis], self.count, *like.shape[axis:]), like.dtype)
      for like, axis in zip(likes, axes, strict=True)
    ]
    seed = devices.varying(jnp.ones(()))
    for i, cotangent in enumerate(pullback.each):
      leaves = jax.tree.leaves(cotangent(seed))
      stacks = [
        jax.lax.dynamic_update_slice_in_dim(stack, jnp.expand_dims(x, axis), i, axis)
        for stack, x, axis in zip(stacks, leaves, axes, strict=True)
      ]
      seed = 1 + zero_after(next(iter(leaves), seed))
    return stacks

  def run(self, stage: int) -> None:
    """Runs what this stage needs and no earlier one has run."""
    program = self.program
    equations = [program.equations[i] for i in self.todo[stage]]
    tasked = [equation for equation in equations if program.tasked.issuperset(equation.outputs)]
    for equation in equations:
      if not program.tasked.issuperset(equation.outputs):
        evaluate(equation, self.shared)
    made = {name for equation in tasked for name in equation.outputs if self._outlives(name, stage)}
    outputs = sorted(made)
    inputs = sorted({n for equation in tasked for n in named(equation.inputs) if n in self.values} - made)

    def piece(*arrays):
      values = self.shared | dict(zip(inputs, arrays, strict=True))
      for equation in tasked:
        evaluate(equation, values)
      return [values[name] for name in outputs]

    if not tasked:
      return
    if self.at_once is None:
      each = zip(*(self.values[name] for name in inputs), strict=True)
      results = list(zip(*(piece(*arrays) for arrays in each), strict=True))
    else:
      ended = {name for name in inputs if not self._outlives(name, stage)}
      # On CPU a batch of convolutions takes 40 times as long as they do in turn.
      if self.in_place and any(equation.eqn is not None and convolves(equation.eqn) for equation in tasked):
        results = self._in_turn(piece, inputs, outputs)
      else:
        results = self._batches(piece, inputs, outputs, ended, self.at_once)
    self.values.update(zip(outputs, results, strict=True))

  def _in_turn(self, piece: Callable[..., list[Any]], inputs: list[Name], outputs: list[Name]) -> list[Any]:
    """One task after the other, without a loop."""
    sources = [(self.values[name], self.axes[name]) for name in inputs]
    each = [
      piece(*(jax.lax.index_in_dim(x, task, axis, keepdims=False) for x, axis in sources)) for task in range(self.count)
    ]
    return [
      jnp.stack(values, self._axis(name, jnp.ndim(values[0])))
      for name, values in zip(outputs, zip(*each, strict=True), strict=True)
    ]

  def _batches(
    self, piece: Callable[..., list[Any]], inputs: list[Name], outputs: list[Name], ended: set[Name], at_once: int
  ) -> list[Any]:
    """Some tasks after the other; where an input ends here and an output is like it, it takes its place."""
    sources = [self.values[name] for name in inputs]
    in_axes = tuple(self.axes[name] for name in inputs)
    shapes = jax.eval_shape(jax.vmap(piece, in_axes), *sources)
    out_axes = [self._axis(name, len(like.shape) - 1) for name, like in zip(outputs, shapes, strict=True)]
    batch = jax.vmap(piece, in_axes, out_axes)
    if not self.in_place:
      return batch(*sources)
    shapes = jax.eval_shape(batch, *sources)
    places: list[int | None] = []  # of which input each output takes the place
    for like, axis in zip(shapes, out_axes, strict=True):
      fits = (
        i
        for i, (name, x) in enumerate(zip(inputs, sources, strict=True))
        if name in ended and i not in places and in_axes[i] == axis and (x.shape, x.dtype) == (like.shape, like.dtype)
      )
      places.append(next(fits, None))
    # Buffers of plain zeros would depend on nothing, and the compiler would make those of all stages at the start.
    buffers = [
      jnp.full(like.shape, self.shared[ZERO], like.dtype) if place is None else sources[place]
      for like, place in zip(shapes, places, strict=True)
    ]

    def some(start, size, buffers):
      now = [buffers[places.index(i)] if i in places else x for i, x in enumerate(sources)]
      parts = [jax.lax.dynamic_slice_in_dim(x, start, size, axis) for x, axis in zip(now, in_axes, strict=True)]
      results = batch(*parts)
      # What is written in place waits for all else that reads the place; otherwise the compiler copies it.
      for other in [x for x, place in zip(results, places, strict=True) if place is None]:
        zero = zero_after(other)
        results = [x if place is None else after(x, zero) for x, place in zip(results, places, strict=True)]
      update = jax.lax.dynamic_update_slice_in_dim
      return [update(b, x, start, axis) for b, x, axis in zip(buffers, results, out_axes, strict=True)]

    return in_pieces(self.count, even(self.count, at_once), some, buffers, first=self.first)

  def _outlives(self, name: Name, stage: int) -> bool:
    return name in self.stages[stage] or self.last_use.get(name, -1) > stage

  def _axis(self, name: Name, rank: int) -> int:
    """Where the tasks of a value of this rank go."""
    self.axes[name] = min(self.axes.get(name, 1), rank)
    return self.axes[name]

  def get(self, name: Name, axis: int = 0) -> jax.Array:
    """A value: as it is when it is the same for all tasks, else those of all tasks stacked along `axis`."""
    if name not in self.program.tasked:
      return self.shared[name]
    value = self.values[name]
    return jnp.stack(value, axis) if self.at_once is None else jnp.moveaxis(value, self.axes[name], axis)

  def rows(self, name: Name) -> jax.Array:
    """The gradients of a parameter, (T, ...), `scattered` over devices."""
    if name not in self.program.tasked:
      value = self.shared[name]
      return scattered(jnp.broadcast_to(value, (self.count, *value.shape)), 1)
    if self.at_once is None:
      return jnp.stack([scattered(row) for row in self.values[name]])
    return scattered(self.get(name), 1)

  def release(self, stage: int, reduced: jax.Array) -> None:
    """Drops what no stage after this one reads; nothing that is still to come runs before the scalar `reduced`."""
    zero = zero_after(reduced)
    self.values = {name: value for name, value in self.values.items() if self.last_use.get(name, -1) > stage}
    if not self.in_place:
      self.values = {name: jax.tree.map(lambda v: after(v, zero), value) for name, value in self.values.items()}
    self.first = (reduced == -jnp.inf).astype(jnp.int32)  # 0 for squared norms, NaN too
    self.shared = {name: value for name, value in self.shared.items() if self.last_use.get(name, -1) > stage}
    self.shared[ZERO] = zero
