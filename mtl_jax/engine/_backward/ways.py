"""How each parameter's part of the Gram matrix is made: from factors, or from rows."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.gram import leaf_gram
from mtl_jax.balance.serving import weighted_sum
from mtl_jax.engine._backward.backward import Backward
from mtl_jax.engine._backward.layers import Product, continued, look_through, products_of
from mtl_jax.engine._backward.products import (
  factor_work,
  factored_gradient,
  factored_products,
  factors,
  pays,
  row_products,
  row_work,
  task_axis,
)
from mtl_jax.engine._backward.program import Equation, Name, Program
from mtl_jax.engine._scatter import scattered

KEPT = 2  # what may be kept, in sizes of all parameters


class Way(abc.ABC):
  """How a parameter's part of G is made, over several forward passes."""

  @abc.abstractmethod
  def wanted(self, forward: int) -> dict[Name, int]:
    """What a forward pass's backward passes must make for it: names, and where the tasks' axis goes."""

  @abc.abstractmethod
  def make(self, backwards: Sequence[Backward]) -> list[Any]:
    """The factors or rows of each forward pass."""

  @abc.abstractmethod
  def gram(self, made: list[Any]) -> jax.Array:
    """The inner products of the parameter's gradients, (T, T)."""

  @abc.abstractmethod
  def gradient(self, made: list[Any], weights: list[jax.Array]) -> jax.Array:
    """The weighted gradient; weights for each forward pass."""

  @abc.abstractmethod
  def held(self) -> int:
    """How many numbers are made, the inputs of layers aside."""


@dataclasses.dataclass(frozen=True)
class _FromFactors(Way):
  """From factors A and D of a kernel's gradient, $A^T D$.

  Attributes:
    layers: The products that the kernel's gradient is the sum of, for each program.
    counts: For each program the number of tasks of each of its forward passes.
  """

  layers: list[list[Product]]
  counts: list[list[int]]

  def wanted(self, forward: int) -> dict[Name, int]:
    return {name: task_axis(layer) for layer in self.layers[forward] for name in (layer.inputs, layer.cotangents)}

  def make(self, backwards: Sequence[Backward]) -> list[Any]:
    return [factors(backward, layers) for backward, layers in zip(backwards, self.layers, strict=True)]

  def gradient(self, made: list[Any], weights: list[jax.Array]) -> jax.Array:
    return factored_gradient(self.layers[0][0], made, weights)

  def held(self) -> int:
    return self._blocks() * sum(n * count * out for n, _, out, count in self._sizes())

  def _blocks(self) -> int:
    return self.layers[0][0].blocks

  def _sizes(self) -> list[tuple[int, int, int, int]]:
    """Of each product: examples, inputs, outputs, tasks."""
    return [
      (*layer.sizes, t) for own, layers in zip(self.counts, self.layers, strict=True) for layer in layers for t in own
    ]


@dataclasses.dataclass(frozen=True)
class ByFactors(_FromFactors):
  """From the factors alone: the kernel's gradients are never made."""

  def gram(self, made: list[Any]) -> jax.Array:
    return factored_products(made, self._blocks())

  def saved(self) -> int:
    """The multiplications that it saves over rows."""
    return row_work(self.layers, self.counts) - factor_work(self.layers, self.counts)

  def gathered(self) -> int:
    """The numbers that devices must see of each other."""
    return self._blocks() * sum(n * (width + count * out) for n, width, out, count in self._sizes())

  def left(self) -> int:
    """The multiplications of the weighted gradient from the factors."""
    return self._blocks() * sum(n * width * out for n, width, out, _ in self._sizes())


@dataclasses.dataclass(frozen=True)
class ByPieces(_FromFactors):
  """From gradients for some of the kernel's inputs, made of the factors and reduced at once."""

  def gram(self, made: list[Any]) -> jax.Array:
    return row_products(made, self._blocks())


@dataclasses.dataclass(frozen=True)
class ByRows(Way):
  """From the gradients of all tasks.

  Attributes:
    sources: Their names, for each program; None: they are zeros.
    counts: The number of tasks of each.
    like: The parameter's shape and dtype.
    after: What is left out between the rows and the gradient, since inner products do not need it.
  """

  sources: list[Name | None]
  counts: list[int]
  like: jax.ShapeDtypeStruct
  after: list[Equation]

  def wanted(self, forward: int) -> dict[Name, int]:
    name = self.sources[forward]
    return {} if name is None else {name: 0}

  def make(self, backwards: Sequence[Backward]) -> list[Any]:
    return [
      self._zeros(count) if name is None else backward.rows(name)
      for backward, name, count in zip(backwards, self.sources, self.counts, strict=True)
    ]

  def _zeros(self, count: int) -> jax.Array:
    return scattered(jnp.zeros((count, *self.like.shape), self.like.dtype), 1)

  def gram(self, made: list[Any]) -> jax.Array:
    return leaf_gram(jnp.concatenate(made))

  def gradient(self, made: list[Any], weights: list[jax.Array]) -> jax.Array:
    return continued(self.after, weighted_sum(jnp.concatenate(weights), jnp.concatenate(made)))

  def held(self) -> int:
    return sum(self.counts) * math.prod(self.like.shape)


def way_of(programs: list[Program], path: str, counts: list[int], products: bool) -> Way:
  """From what a parameter's part of G is made: from factors only if all programs have them.

  Args:
    programs: The backward passes.
    path: The parameter.
    counts: The number of tasks of each.
    products: Whether inner products may be taken without the gradients, where that is less work.
  """
  found = [products_of(program, path) for program in programs]
  layers = [each for each in found if each is not None]
  if len(layers) == len(found) and len({each[0].layout for each in layers}) == 1:
    passes = [[1] * count if program.own else [count] for program, count in zip(programs, counts, strict=True)]
    if products and pays(layers, passes):
      return ByFactors(layers, passes)
    if devices.on_one_cpu():
      return ByPieces(layers, passes)
  # Inner products do not need the transpose that may end the way to a gradient, a copy of all rows.
  bare = ("transpose",) if len(programs) == 1 else ()
  rows = [look_through(program, program.leaves[path], bare) for program in programs]
  return ByRows([name for name, _ in rows], counts, programs[0].parameters[path], rows[0][1])


def keeps(ways: dict[str, Way], programs: list[Program], counts: list[int], layers: str | None) -> bool:
  """Whether what is made stays until the weights are known, for the gradients; see `factored`."""
  parameters = sum(math.prod(like.shape) for like in programs[0].parameters.values())
  each = all(count == 1 or program.own for count, program in zip(counts, programs, strict=True))
  alone = layers is None and each and devices.count() * devices.shards() == 1
  return alone and sum(way.held() for way in ways.values()) <= KEPT * parameters
