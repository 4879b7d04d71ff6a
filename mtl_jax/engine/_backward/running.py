"""Three ways of running the same equations for all tasks: in turn, at once, and a few at a time in place."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.pieces import even, in_pieces
from mtl_jax.engine._backward.order import after, zero_after
from mtl_jax.engine._scatter import scattered
from mtl_jax.engine.linearized import Pullback

FEW = 8  # tasks at a time: products of full speed, and what is made on the way does not grow with T


class Piece(NamedTuple):
  """Equations to be run for all tasks.

  Attributes:
    function: `function(*values) -> values`, for one task.
    in_axes: Where the tasks lie in each value read, when they are stacked.
    out_axes: Where they are to lie in each value made.
    ended: Which of the values read nobody reads afterwards.
    convolves: Whether there is a convolution.
    zero: 0 when everything is there that must be there before.
  """

  function: Callable[..., list[Any]]
  in_axes: tuple[int, ...]
  out_axes: list[int]
  ended: tuple[bool, ...]
  convolves: bool
  zero: jax.Array


@dataclasses.dataclass(frozen=True)
class Runner(abc.ABC):
  """How the values of all tasks are held, and how equations are run for them.

  Attributes:
    tasks: How many there are.
  """

  tasks: int

  @abc.abstractmethod
  def cotangents(self, pullback: Pullback, axes: Sequence[int]) -> list[Any]:
    """The cotangents of all tasks, as values are held; `axes`: where the tasks are to lie in each."""

  @abc.abstractmethod
  def held(self, value: jax.Array, axis: int) -> Any:
    """A value of all tasks, along its first axis, as values are held; `axis`: where the tasks are to lie."""

  @abc.abstractmethod
  def run(self, piece: Piece, values: Sequence[Any]) -> list[Any]:
    """The values made, for all tasks."""

  @abc.abstractmethod
  def stacked(self, value: Any, held: int, axis: int) -> jax.Array:
    """The values of all tasks along `axis`; `held`: where they lie."""

  @abc.abstractmethod
  def rows(self, value: Any, held: int) -> jax.Array:
    """The gradients of a parameter, (T, ...), `scattered` over devices."""

  @abc.abstractmethod
  def wait(self, values: Mapping[int, Any], zero: jax.Array) -> dict[int, Any]:
    """The same values, which nobody reads before `zero` is there."""


@dataclasses.dataclass(frozen=True)
class InTurn(Runner):
  """One task after the other, without a loop; a value is a tuple of those of the tasks."""

  def cotangents(self, pullback: Pullback, axes: Sequence[int]) -> list[Any]:
    return list(zip(*(jax.tree.leaves(cotangent) for cotangent in pullback.cotangents), strict=True))

  def held(self, value: jax.Array, axis: int) -> Any:
    return tuple(value)

  def run(self, piece: Piece, values: Sequence[Any]) -> list[Any]:
    return list(zip(*(piece.function(*one) for one in zip(*values, strict=True)), strict=True))

  def stacked(self, value: Any, held: int, axis: int) -> jax.Array:
    return jnp.stack(value, axis)

  def rows(self, value: Any, held: int) -> jax.Array:
    return jnp.stack([scattered(row) for row in value])

  def wait(self, values: Mapping[int, Any], zero: jax.Array) -> dict[int, Any]:
    return {name: tuple(after(one, zero) for one in value) for name, value in values.items()}


@dataclasses.dataclass(frozen=True)
class AtOnce(Runner):
  """All tasks as one batch; a value is the stack of those of the tasks."""

  def cotangents(self, pullback: Pullback, axes: Sequence[int]) -> list[Any]:
    return pullback.cotangents.stacks(axes)

  def held(self, value: jax.Array, axis: int) -> Any:
    return jnp.moveaxis(value, 0, axis)

  def run(self, piece: Piece, values: Sequence[Any]) -> list[Any]:
    return jax.vmap(piece.function, piece.in_axes, piece.out_axes)(*values)

  def stacked(self, value: Any, held: int, axis: int) -> jax.Array:
    return jnp.moveaxis(value, held, axis)

  def rows(self, value: Any, held: int) -> jax.Array:
    return scattered(self.stacked(value, held, 0), 1)

  def wait(self, values: Mapping[int, Any], zero: jax.Array) -> dict[int, Any]:
    return {name: after(value, zero) for name, value in values.items()}


@dataclasses.dataclass(frozen=True)
class FewAtATime(AtOnce):
  """On one CPU: batches of a few tasks, each written in the place of what it ends; convolutions in turn.

  A batch of convolutions takes 40 times as long there as they do in turn.
  """

  def run(self, piece: Piece, values: Sequence[Any]) -> list[Any]:
    return (self._in_turn if piece.convolves else self._in_batches)(piece, values)

  def wait(self, values: Mapping[int, Any], zero: jax.Array) -> dict[int, Any]:
    return dict(values)  # loops wait, by where they start

  def _in_turn(self, piece: Piece, values: Sequence[Any]) -> list[Any]:
    sources = list(zip(values, piece.in_axes, strict=True))
    each = [
      piece.function(*(jax.lax.index_in_dim(x, task, axis, keepdims=False) for x, axis in sources))
      for task in range(self.tasks)
    ]
    return [jnp.stack(made, axis) for made, axis in zip(zip(*each, strict=True), piece.out_axes, strict=True)]

  def _in_batches(self, piece: Piece, values: Sequence[Any]) -> list[Any]:
    batch = jax.vmap(piece.function, piece.in_axes, piece.out_axes)
    likes = jax.eval_shape(batch, *values)
    places = _places(piece, values, likes)
    # Buffers of plain zeros would depend on nothing, and the compiler would make those of all stages at the start.
    buffers = [
      jnp.full(like.shape, piece.zero, like.dtype) if place is None else values[place]
      for like, place in zip(likes, places, strict=True)
    ]

    def some(start, size, buffers):
      now = [buffers[places.index(i)] if i in places else x for i, x in enumerate(values)]
      parts = [jax.lax.dynamic_slice_in_dim(x, start, size, axis) for x, axis in zip(now, piece.in_axes, strict=True)]
      made = batch(*parts)
      # What is written in place waits for all else that reads the place; otherwise the compiler copies it.
      for other in [x for x, place in zip(made, places, strict=True) if place is None]:
        zero = zero_after(other)
        made = [x if place is None else after(x, zero) for x, place in zip(made, places, strict=True)]
      update = jax.lax.dynamic_update_slice_in_dim
      return [update(b, x, start, axis) for b, x, axis in zip(buffers, made, piece.out_axes, strict=True)]

    return in_pieces(self.tasks, even(self.tasks, FEW), some, buffers, first=piece.zero.astype(jnp.int32))


def _places(piece: Piece, values: Sequence[Any], made: Sequence[Any]) -> list[int | None]:
  """Of which value read each value made takes the place: one that ends, and is like it."""
  places: list[int | None] = []
  for like, axis in zip(made, piece.out_axes, strict=True):
    fits = (
      i
      for i, x in enumerate(values)
      if piece.ended[i] and i not in places and (x.shape, x.dtype, piece.in_axes[i]) == (like.shape, like.dtype, axis)
    )
    places.append(next(fits, None))
  return places


def runner(tasks: int, *, one_by_one: bool) -> Runner:
  """The way for this many tasks: in turn if asked for, else in batches, of a few tasks where the step runs on a CPU."""
  if one_by_one:
    return InTurn(tasks)
  return FewAtATime(tasks) if devices.on_one_cpu() else AtOnce(tasks)
