"""The traced backward pass as a list of equations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from mtl_jax._core.paths import matching
from mtl_jax._jaxpr.equations import function_of
from mtl_jax._jaxpr.flow import Kind, flow, is_linear
from mtl_jax.engine.linearized import Pullback

Name = int
Operand = Any  # a name, or a `Literal`
ZERO: Name = -1  # a scalar of value 0 that depends on all that has been reduced so far


class Equation(NamedTuple):
  """One operation, its values by name; `jit` and `checkpoint` are inlined. `eqn` None: a value that must wait."""

  eqn: Any
  function: Callable[..., list[jax.Array]]
  inputs: tuple[Operand, ...]
  outputs: tuple[Name, ...]


class Program(NamedTuple):
  """The backward pass of one task, from the features to the shared parameters.

  Attributes:
    equations: In the order of the trace.
    constants: What the forward pass left, by name.
    cotangents: The names of the inputs, the cotangents at the features.
    leaves: The gradient of each parameter, by path; None: it is zero, or has no entries.
    shapes: Its shape and dtype.
    tasked: All names whose values depend on the cotangents; the others are the same for all tasks.
    makers: For each name the index of the equation that makes it.
    linear: Whether all gradients are linear in the cotangents, as far as can be seen: a `jax.custom_vjp` may give
      others, and then the gradient of a weighted sum of losses is not the weighted sum of their gradients.
  """

  equations: tuple[Equation, ...]
  constants: dict[Name, Any]
  cotangents: tuple[Name, ...]
  leaves: dict[str, Name | None]
  shapes: dict[str, jax.ShapeDtypeStruct]
  tasked: frozenset[Name]
  makers: dict[Name, int]
  linear: bool


def trace(pullback: Pullback, layers: str | None) -> Program:
  """The backward pass of `pullback`'s first task; the others differ from it in their cotangents only."""
  closed, shapes = jax.make_jaxpr(lambda c: matching(pullback.pull(c), layers), return_shape=True)(
    pullback.cotangents[0]
  )
  fresh = itertools.count()
  names: dict[Any, Operand] = {var: next(fresh) for var in (*closed.jaxpr.constvars, *closed.jaxpr.invars)}
  cotangents = tuple(names[var] for var in closed.jaxpr.invars)
  equations = tuple(_flat(closed.jaxpr, names, fresh))
  tasked, makers = set(cotangents), {}
  for i, equation in enumerate(equations):
    makers.update(dict.fromkeys(equation.outputs, i))
    if tasked.intersection(named(equation.inputs)):
      tasked.update(equation.outputs)
  constants = {names[var]: const for var, const in zip(closed.jaxpr.constvars, closed.consts, strict=True)}
  kinds, leaves = flow(closed.jaxpr, [Kind.LINEAR] * len(cotangents)), {}
  for (path, like), var, kind in zip(shapes.items(), closed.jaxpr.outvars, kinds, strict=True):
    operand = _operand(var, names)
    if isinstance(operand, jex.Literal):
      constants[name := next(fresh)] = jnp.asarray(operand.val, like.dtype)
      operand = name
    leaves[path] = None if kind is Kind.ZERO or 0 in like.shape else operand
  return Program(equations, constants, cotangents, leaves, shapes, frozenset(tasked), makers, is_linear(kinds))


def _flat(jaxpr: Any, names: dict[Any, Operand], fresh: Any) -> Iterable[Equation]:
  for eqn in jaxpr.eqns:
    inputs = tuple(_operand(var, names) for var in eqn.invars)
    if any(isinstance(operand, jex.Literal) for operand in inputs):  # perhaps an argument of what is inlined
      both = zip(eqn.invars, inputs, strict=True)
      eqn = eqn.replace(invars=[operand if isinstance(operand, jex.Literal) else var for var, operand in both])
    if eqn.primitive is jex.primitives.jit_p and not eqn.params["jaxpr"].consts:
      inner = eqn.params["jaxpr"].jaxpr
      scope = dict(zip(inner.invars, inputs, strict=True))
      yield from _flat(inner, scope, fresh)
      names.update(zip(eqn.outvars, (_operand(var, scope) for var in inner.outvars), strict=True))
      continue
    if eqn.primitive is jex.primitives.remat_p and not eqn.params["jaxpr"].constvars:
      # What it repeats must stay behind the reductions before it, or the compiler takes it from the forward pass.
      inner = eqn.params["jaxpr"]
      scope = dict(zip(inner.invars, inputs, strict=True))
      for var, name in scope.items():
        if not isinstance(name, jex.Literal):
          scope[var] = next(fresh)
          yield Equation(None, lambda value, zero: [after(value, zero)], (name, ZERO), (scope[var],))
      yield from _flat(inner, scope, fresh)
      names.update(zip(eqn.outvars, (_operand(var, scope) for var in inner.outvars), strict=True))
      continue
    outputs = tuple(itertools.islice(fresh, len(eqn.outvars)))
    names.update(zip(eqn.outvars, outputs, strict=True))
    yield Equation(eqn, function_of(jaxpr, eqn), inputs, outputs)


def _operand(var: Any, names: dict[Any, Operand]) -> Operand:
  return var if isinstance(var, jex.Literal) else names[var]


def named(operands: Iterable[Operand]) -> list[Name]:
  """Those that are no literals."""
  return [operand for operand in operands if not isinstance(operand, jex.Literal)]


def zero_after(value: jax.Array) -> jax.Array:
  """0 that is there when the array is: unless that begins with NaN, but the compiler cannot know."""
  return jnp.minimum(jnp.abs(jnp.ravel(value)[:1].sum()).astype(jnp.float32), 0.0)


def after(value: jax.Array, zero: jax.Array) -> jax.Array:
  """The same array, when `zero` is there."""
  return value + zero.astype(value.dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value


def leading_to(program: Program, wanted: Iterable[Name], done: set[int]) -> list[int]:
  """The equations that lead to `wanted`, but for those done, in order."""
  found, open_ = set(), list(wanted)
  while open_:
    index = program.makers.get(open_.pop())
    if index is not None and index not in found and index not in done:
      found.add(index)
      open_.extend(named(program.equations[index].inputs))
  return sorted(found)


def evaluate(equation: Equation, values: dict[Name, Any]) -> None:
  """Adds what the equation makes to the values."""
  results = equation.function(*(values[name] for name in named(equation.inputs)))
  values.update(zip(equation.outputs, results, strict=True))
