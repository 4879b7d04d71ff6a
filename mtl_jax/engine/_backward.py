"""A backward pass as a list of equations, of which any part can be run for all tasks when its values are wanted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from mtl_jax.balance._layers import matching
from mtl_jax.engine._linearize import Pullback
from mtl_jax.engine._rows import stack

Name = int
Operand = Any  # a name, or a `Literal`
_ZERO: Name = -1  # a scalar of value 0 that depends on all that has been reduced so far


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
    leaves: The gradient of each parameter, by path.
    shapes: Its shape and dtype.
    tasked: All names whose values depend on the cotangents; the others are the same for all tasks.
    makers: For each name the index of the equation that makes it.
  """

  equations: tuple[Equation, ...]
  constants: dict[Name, Any]
  cotangents: tuple[Name, ...]
  leaves: dict[str, Operand]
  shapes: dict[str, jax.ShapeDtypeStruct]
  tasked: frozenset[Name]
  makers: dict[Name, int]


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
    if tasked.intersection(_named(equation.inputs)):
      tasked.update(equation.outputs)
  return Program(
    equations,
    {names[var]: const for var, const in zip(closed.jaxpr.constvars, closed.consts, strict=True)},
    cotangents,
    dict(zip(shapes, (_operand(var, names) for var in closed.jaxpr.outvars), strict=True)),
    shapes,
    frozenset(tasked),
    makers,
  )


def _flat(jaxpr: Any, names: dict[Any, Operand], fresh: Any) -> Iterable[Equation]:
  for eqn in jaxpr.eqns:
    inputs = tuple(_operand(var, names) for var in eqn.invars)
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
          yield Equation(None, lambda value, zero: [_after(value, zero)], (name, _ZERO), (scope[var],))
      yield from _flat(inner, scope, fresh)
      names.update(zip(eqn.outvars, (_operand(var, scope) for var in inner.outvars), strict=True))
      continue
    outputs = tuple(itertools.islice(fresh, len(eqn.outvars)))
    names.update(zip(eqn.outvars, outputs, strict=True))
    yield Equation(eqn, _function(jaxpr, eqn), inputs, outputs)


def _function(jaxpr: Any, eqn: Any) -> Callable[..., list[jax.Array]]:
  """The equation as a function of all its operands but literals."""
  variables = [var for var in eqn.invars if not isinstance(var, jex.Literal)]
  unnamed = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
  distinct = list(dict.fromkeys(variables))
  alone = jaxpr.replace(constvars=(), invars=distinct, outvars=eqn.outvars, eqns=[eqn], debug_info=unnamed)
  run = jex.jaxpr_as_fun(jex.ClosedJaxpr(alone, ()))
  return lambda *operands: run(*(operands[variables.index(var)] for var in distinct))


def _operand(var: Any, names: dict[Any, Operand]) -> Operand:
  return var if isinstance(var, jex.Literal) else names[var]


def _named(operands: Iterable[Operand]) -> list[Name]:
  return [operand for operand in operands if not isinstance(operand, jex.Literal)]


class Backward:
  """A run of a `Program` for all tasks of a pullback, in stages; what no later stage reads is dropped.

  Args:
    program: The backward pass of one task.
    pullback: Its tasks.
    stages: The names that each stage wants, in the order in which they will be asked for.
    one_by_one: Run each piece for one task after the other rather than for all as one batch.
  """

  def __init__(self, program: Program, pullback: Pullback, stages: list[list[Name]], *, one_by_one: bool):
    self.program, self.one_by_one, self.count = program, one_by_one, len(pullback.cotangents)
    self.shared = dict(program.constants)
    cotangents = [jax.tree.leaves(c) for c in pullback.cotangents]
    each = list(zip(*cotangents, strict=True)) if one_by_one else stack(cotangents)
    self.values: dict[Name, Any] = dict(zip(program.cotangents, each, strict=True))
    first = jnp.ravel(jnp.asarray(cotangents[0][0]))[:1].sum()
    self.shared[_ZERO] = jnp.minimum(jnp.abs(first.astype(jnp.float32)), 0.0)
    self.todo, done = [], set()
    for wanted in stages:
      self.todo.append(_slice(program, wanted, done))
      done.update(self.todo[-1])
    self.last_use: dict[Name, int] = {}
    for stage, (indices, wanted) in enumerate(zip(self.todo, stages, strict=True)):
      inputs = [name for i in indices for name in _named(program.equations[i].inputs)]
      self.last_use.update(dict.fromkeys([*inputs, *wanted], stage))

  def run(self, stage: int) -> None:
    """Runs what this stage needs and no earlier one has run."""
    program = self.program
    equations = [program.equations[i] for i in self.todo[stage]]
    tasked = [equation for equation in equations if program.tasked.issuperset(equation.outputs)]
    for equation in equations:
      if not program.tasked.issuperset(equation.outputs):
        _evaluate(equation, self.shared)
    made = {name for equation in tasked for name in equation.outputs if self.last_use.get(name, -1) >= stage}
    outputs = sorted(made)
    inputs = sorted({n for equation in tasked for n in _named(equation.inputs) if n in self.values} - made)

    def piece(*arrays):
      values = self.shared | dict(zip(inputs, arrays, strict=True))
      for equation in tasked:
        _evaluate(equation, values)
      return [values[name] for name in outputs]

    if tasked:
      self.values.update(zip(outputs, self._each(piece, [self.values[name] for name in inputs]), strict=True))

  def _each(self, piece: Callable[..., list[Any]], arrays: list[Any]) -> list[Any]:
    if self.one_by_one:
      return list(zip(*(piece(*(a[task] for a in arrays)) for task in range(self.count)), strict=True))
    return jax.vmap(piece)(*arrays)

  def get(self, name: Name) -> jax.Array:
    """A value: as it is when it is the same for all tasks, else stacked, (T, ...)."""
    if name not in self.program.tasked:
      return self.shared[name]
    return jnp.stack(self.values[name]) if self.one_by_one else self.values[name]

  def release(self, stage: int, zero: jax.Array) -> None:
    """Drops what no stage after this one reads, and makes all that goes on depend on `zero`, a scalar of value 0."""
    kept = {name: value for name, value in self.values.items() if self.last_use.get(name, -1) > stage}
    self.values = {name: jax.tree.map(lambda v: _after(v, zero), value) for name, value in kept.items()}
    self.shared = {name: value for name, value in self.shared.items() if self.last_use.get(name, -1) > stage}
    self.shared[_ZERO] = zero


def _after(value: jax.Array, zero: jax.Array) -> jax.Array:
  return value + zero.astype(value.dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value


def _slice(program: Program, wanted: Iterable[Name], done: set[int]) -> list[int]:
  """The equations that lead to `wanted`, but for those done, in order."""
  found, open_ = set(), list(wanted)
  while open_:
    index = program.makers.get(open_.pop())
    if index is not None and index not in found and index not in done:
      found.add(index)
      open_.extend(_named(program.equations[index].inputs))
  return sorted(found)


def _evaluate(equation: Equation, values: dict[Name, Any]) -> None:
  results = equation.function(*(values[name] for name in _named(equation.inputs)))
  values.update(zip(equation.outputs, results, strict=True))
