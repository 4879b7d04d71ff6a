"""The traced backward pass as a list of equations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from mtl_jax._core.paths import matching
from mtl_jax._jaxpr.equations import function_of
from mtl_jax._jaxpr.flow import Kind, flow, is_linear
from mtl_jax.engine._backward.order import after
from mtl_jax.engine.linearized import Own, Pullback

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
    own: What the forward passes of several tasks left, where each has one, along a leading axis.
    cotangents: The names of the inputs, the cotangents at the features.
    leaves: The gradient of each parameter, by path; None: it is zero, or has no entries.
    parameters: Its shape and dtype, by path.
    passed: All names whose values depend on the cotangents.
    tasked: These, and those whose values depend on what each task's own forward pass left; the others are the same for
      all tasks.
    makers: For each name the index of the equation that makes it.
    ranks: For each name the number of axes of its value, for one task.
    linear: Whether all gradients are linear in the cotangents, as far as can be seen: a `jax.custom_vjp` may give
      others, and then the gradient of a weighted sum of losses is not the weighted sum of their gradients.
  """

  equations: tuple[Equation, ...]
  constants: dict[Name, Any]
  own: dict[Name, Any]
  cotangents: tuple[Name, ...]
  leaves: dict[str, Name | None]
  parameters: dict[str, jax.ShapeDtypeStruct]
  passed: frozenset[Name]
  tasked: frozenset[Name]
  makers: dict[Name, int]
  ranks: dict[Name, int]
  linear: bool


def trace(pullback: Pullback, layers: str | None) -> Program:
  """The backward pass of `pullback`'s first task; the others differ from it in their cotangents only."""
  own = Own(lambda residuals, c: pullback.pull(c), [], []) if pullback.own is None else pullback.own
  one = [x if axis is None else x[0] for x, axis in zip(own.residuals, own.axes, strict=True)]
  closed, shapes = jax.make_jaxpr(lambda r, c: matching(own.pull(r, c), layers), return_shape=True)(
    one, pullback.cotangents.like
  )
  names = _Names()
  scope: Scope = {var: names.new(var) for var in (*closed.jaxpr.constvars, *closed.jaxpr.invars)}
  left, cotangents = ([scope[var] for var in some] for some in _cut(closed.jaxpr.invars, len(one)))
  equations = tuple(_flat(closed.jaxpr, scope, names))
  constants = {scope[var]: const for var, const in zip(closed.jaxpr.constvars, closed.consts, strict=True)}
  each = {name: x for name, x, axis in zip(left, own.residuals, own.axes, strict=True) if axis is not None}
  constants |= {name: x for name, x in zip(left, own.residuals, strict=True) if name not in each}
  passed, tasked, makers = set(cotangents), {*each, *cotangents}, {}
  for i, equation in enumerate(equations):
    makers.update(dict.fromkeys(equation.outputs, i))
    for some in (passed, tasked):
      if some.intersection(named(equation.inputs)):
        some.update(equation.outputs)
  kinds, leaves = flow(closed.jaxpr, [Kind.CONSTANT] * len(left) + [Kind.LINEAR] * len(cotangents)), {}
  for (path, like), var, kind in zip(shapes.items(), closed.jaxpr.outvars, kinds, strict=True):
    operand = _operand(var, scope)
    if isinstance(operand, jex.Literal):
      constants[name := names.new(var)] = jnp.asarray(operand.val, like.dtype)
      operand = name
    leaves[path] = None if kind is Kind.ZERO or 0 in like.shape else operand
  return Program(
    equations,
    constants,
    each,
    tuple(cotangents),
    leaves,
    shapes,
    frozenset(passed),
    frozenset(tasked),
    makers,
    names.ranks,
    is_linear(kinds),
  )


def _cut(items: Sequence[Any], count: int) -> tuple[Sequence[Any], Sequence[Any]]:
  return items[:count], items[count:]


Scope = dict[Any, Operand]  # what the variables of a jaxpr are called


class _Names:
  """Hands out names, and remembers the ranks of what they stand for."""

  def __init__(self):
    self.ranks: dict[Name, int] = {}

  def new(self, var: Any) -> Name:
    name = len(self.ranks)
    self.ranks[name] = len(getattr(var.aval, "shape", ()))
    return name


def _flat(jaxpr: Any, scope: Scope, names: _Names) -> Iterable[Equation]:
  for eqn in jaxpr.eqns:
    inputs = tuple(_operand(var, scope) for var in eqn.invars)
    if any(isinstance(operand, jex.Literal) for operand in inputs):  # perhaps an argument of what is inlined
      both = zip(eqn.invars, inputs, strict=True)
      eqn = eqn.replace(invars=[operand if isinstance(operand, jex.Literal) else var for var, operand in both])
    body = _inlined(eqn)
    if body is None:
      outputs = tuple(names.new(var) for var in eqn.outvars)
      scope.update(zip(eqn.outvars, outputs, strict=True))
      yield Equation(eqn, function_of(jaxpr, eqn), inputs, outputs)
      continue
    inner = dict(zip(body.invars, inputs, strict=True))
    if eqn.primitive is jex.primitives.remat_p:
      # What it repeats must stay behind the reductions before it, or the compiler takes it from the forward pass.
      for var, name in inner.items():
        if not isinstance(name, jex.Literal):
          inner[var] = names.new(var)
          yield Equation(None, lambda value, zero: [after(value, zero)], (name, ZERO), (inner[var],))
    yield from _flat(body, inner, names)
    scope.update(zip(eqn.outvars, (_operand(var, inner) for var in body.outvars), strict=True))


def _inlined(eqn: Any) -> Any:
  """The program inside of a `jit` or a `checkpoint`; None for any other equation."""
  if eqn.primitive is jex.primitives.jit_p and not eqn.params["jaxpr"].consts:
    return eqn.params["jaxpr"].jaxpr
  if eqn.primitive is jex.primitives.remat_p and not eqn.params["jaxpr"].constvars:
    return eqn.params["jaxpr"]
  return None


def _operand(var: Any, scope: Scope) -> Operand:
  return var if isinstance(var, jex.Literal) else scope[var]


def named(operands: Iterable[Operand]) -> list[Name]:
  """Those that are no literals."""
  return [operand for operand in operands if not isinstance(operand, jex.Literal)]
