"""The arithmetic of engines, counted on the traced backward pass: multiplications of dense layers and convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mtl_jax._jaxpr.equations import inner
from mtl_jax.engine._backward.program import Program, trace
from mtl_jax.engine._backward.ways import ByFactors, keeps, way_of
from mtl_jax.engine.linearized import Pullback


class Work(NamedTuple):
  """What the ways to a combined gradient cost, in multiplications and in 32-bit numbers that devices send.

  Attributes:
    backward: Multiplications of the backward pass that `factored` runs once more: of the trunk, or what is left of it.
    saved: Multiplications that inner products from factors save over those from rows, over all tasks.
    parameters: The size of the shared parameters.
    gathered: Numbers of the factors that devices must see of each other, over all tasks.
    rows: Parameters whose task gradients `factored` makes nevertheless.
  """

  backward: int
  saved: int
  parameters: int
  gathered: int
  rows: int


def work_of(pullbacks: Sequence[Pullback], layers: str | None) -> Work:
  """Counts the backward passes of all pullbacks."""
  programs = [trace(pullback, layers) for pullback in pullbacks]
  counts = [len(pullback.cotangents) for pullback in pullbacks]
  ways = {path: way_of(programs, path, counts, products=True) for path in programs[0].parameters}
  by_factors = [way for way in ways.values() if isinstance(way, ByFactors)]
  rows = sum(
    math.prod(programs[0].parameters[path].shape) for path, way in ways.items() if not isinstance(way, ByFactors)
  )
  parameters = sum(math.prod(like.shape) for like in programs[0].parameters.values())
  if keeps(ways, programs, counts, layers):
    backward = sum(way.left() for way in by_factors)
  else:
    passes = [count if program.own else 1 for program, count in zip(programs, counts, strict=True)]
    backward = sum(count * multiplications(program) for count, program in zip(passes, programs, strict=True))
  saved, gathered = sum(way.saved() for way in by_factors), sum(way.gathered() for way in by_factors)
  return Work(backward, saved, parameters, gathered, rows)


def multiplications(program: Program) -> int:
  """Those of a backward pass of one task."""
  return sum(_of(equation.eqn) for equation in program.equations if equation.eqn is not None)


def _of(eqn: Any) -> int:
  if eqn.primitive.name == "dot_general":
    (contracted, _), _ = eqn.params["dimension_numbers"]
    return eqn.outvars[0].aval.size * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
  if eqn.primitive.name == "conv_general_dilated":
    kernel, (_, inputs, *spatial) = eqn.invars[1].aval, eqn.params["dimension_numbers"].rhs_spec
    return eqn.outvars[0].aval.size * kernel.shape[inputs] * math.prod(kernel.shape[axis] for axis in spatial)
  return eqn.params.get("length", 1) * sum(map(_of, inner(eqn)))
