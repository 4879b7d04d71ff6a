"""Programs that differ in nothing but their operands, as one program over the operands of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.extend.core as jex
import numpy as np

from mtl_jax._jaxpr.equations import jaxpr_of


class Source(NamedTuple):
  """Where each program finds an operand: which input, and its number there; or the number that it holds.

  Attributes:
    kind: `"input"`, `"constant"` or `"number"`.
    each: For each program the place of the input, the constant itself, or the number.
  """

  kind: str
  each: tuple[Any, ...]

  @property
  def common(self) -> bool:
    """Whether all programs find it in the same place."""
    return all(place is self.each[0] or (self.kind == "input" and place == self.each[0]) for place in self.each)


class Merged(NamedTuple):
  """One program for several.

  Attributes:
    run: `run(*operands) -> outputs`, for the operands of any of them.
    sources: Where they find each operand.
  """

  run: Callable[..., list[Any]]
  sources: list[Source]

  @property
  def others(self) -> list[Source]:
    """The operands that are no inputs."""
    return [source for source in self.sources if source.kind != "input"]

  def on(self, inputs: Sequence[Any], others: Iterable[Any]) -> list[Any]:
    """The outputs for the inputs of all programs, which read the same of them, and the other operands of one."""
    rest = iter(others)
    return self.run(*(inputs[s.each[0]] if s.kind == "input" else next(rest) for s in self.sources))


def merged(programs: Sequence[Any]) -> Merged | None:
  """The one program of which these are instances; None where there is none.

  Two programs are alike if they make the same operations of the same shapes in the same order. They may read different
  inputs and closed-over arrays, and hold different numbers, such as the mean of a task's labels.

  Args:
    programs: From `jax.make_jaxpr`.

  Returns:
    The program, or None.

  >>> def scaled(key, by):
  ...   return jax.make_jaxpr(lambda batch: batch[key] * by)({"a": 1.0, "b": 2.0})
  >>> one = merged([scaled("a", 3.0), scaled("b", 5.0)])
  >>> [(source.kind, *map(float, source.each)) for source in one.sources]
  [('input', 0.0, 1.0), ('number', 3.0, 5.0)]
  >>> [x.item() for x in one.run(2.0, 5.0)]
  [10.0]
  """
  found = _aligned([(program.jaxpr, _places(program)) for program in programs])
  if found is None:
    return None
  jaxpr, operands = programs[0].jaxpr, found.operands
  alone = jaxpr.replace(
    constvars=(),
    invars=list(operands.values()),
    outvars=found.outvars,
    eqns=found.eqns,
    debug_info=jaxpr.debug_info._replace(arg_names=None, result_paths=None),
  )

  def run(*values: Any) -> list[Any]:
    with jax.debug_nans(False):  # what works with NaN inside had the check off when it was traced
      return jax.core.eval_jaxpr(alone, (), *values)

  return Merged(run, [_source(places) for places in operands])


class _Place(NamedTuple):
  """An operand that no equation makes; equal where it is the same."""

  kind: str
  where: Any
  value: Any = None

  def __eq__(self, other: object) -> bool:
    return isinstance(other, _Place) and self[:2] == other[:2]

  def __hash__(self) -> int:
    return hash(self[:2])


class _Aligned(NamedTuple):
  eqns: list[Any]
  outvars: list[Any]
  operands: dict[tuple[_Place, ...], Any]


def _places(program: Any) -> dict[Any, _Place]:
  places = {var: _Place("input", i, i) for i, var in enumerate(program.jaxpr.invars)}
  for var, value in zip(program.jaxpr.constvars, program.consts, strict=True):
    places[var] = _Place("constant", id(value), value)
  return places


def _source(places: tuple[_Place, ...]) -> Source:
  return Source(places[0].kind, tuple(place.value for place in places))


def _aligned(programs: Sequence[tuple[Any, dict[Any, Any]]]) -> _Aligned | None:
  """The first program with a variable for each operand that the programs find at the same place of theirs."""
  first, known = programs[0][0], [dict(places) for _, places in programs]
  if len({(len(jaxpr.eqns), len(jaxpr.outvars)) for jaxpr, _ in programs}) > 1:
    return None
  operands: dict[tuple[_Place, ...], Any] = {}
  spare = dict(zip([*first.invars, *first.constvars], [*first.invars, *first.constvars], strict=True))

  def operand(atoms: Sequence[Any]) -> Any:
    """The first program's variable or number, or a variable for those of all; None: they are not alike."""
    places = tuple(_place(atom, own) for atom, own in zip(atoms, known, strict=True))
    if not isinstance(places[0], _Place):
      return places[0] if all(place is places[0] for place in places) else None
    if not all(isinstance(place, _Place) and place.kind == places[0].kind for place in places):
      return None
    if len({_type(atom) for atom in atoms}) > 1:
      return None
    if places[0].kind == "number" and len(set(places)) == 1:
      return atoms[0]
    if places not in operands:
      # The first program's own variable where it has one to give, else a new one of the same type.
      own = None if isinstance(atoms[0], jex.Literal) else spare.pop(atoms[0], None)
      operands[places] = jex.Var(atoms[0].aval) if own is None else own
    return operands[places]

  eqns = []
  for several in zip(*(jaxpr.eqns for jaxpr, _ in programs), strict=True):
    eqn = several[0]
    if not all(_same_operation(eqn, other) for other in several[1:]):
      return None
    invars = [operand(atoms) for atoms in zip(*(one.invars for one in several), strict=True)]
    if any(var is None for var in invars):
      return None
    for own, one in zip(known, several, strict=True):
      own.update(zip(one.outvars, eqn.outvars, strict=True))
    eqns.append(eqn.replace(invars=invars))
  outvars = [operand(atoms) for atoms in zip(*(jaxpr.outvars for jaxpr, _ in programs), strict=True)]
  return None if any(var is None for var in outvars) else _Aligned(eqns, outvars, operands)


def _place(atom: Any, known: dict[Any, Any]) -> Any:
  if isinstance(atom, jex.Literal):
    value = np.asarray(atom.val)
    return _Place("number", (value.tobytes(), str(value.dtype)), value)
  return known[atom]


def _type(atom: Any) -> Any:
  return getattr(atom.aval, "shape", None), str(getattr(atom.aval, "dtype", atom.aval))


def _same_operation(one: Any, other: Any) -> bool:
  return (
    one.primitive is other.primitive
    and len(one.invars) == len(other.invars)
    and list(map(_type, one.outvars)) == list(map(_type, other.outvars))
    and one.params.keys() == other.params.keys()
    and all(_same(value, other.params[name]) for name, value in one.params.items())
  )


def _same(one: Any, other: Any) -> bool:
  """Whether two parameters of an operation are the same; functions are if they are one object."""
  if one is other:
    return True
  if type(one) is not type(other):
    return False
  if isinstance(one, tuple | list):
    return len(one) == len(other) and all(map(_same, one, other))
  if jaxpr_of(one) is not None:
    consts, others = (getattr(program, "consts", ()) for program in (one, other))
    return _same_program(jaxpr_of(one), consts, jaxpr_of(other), others)
  if isinstance(one, np.ndarray):
    return one.dtype == other.dtype and np.array_equal(one, other)
  return bool(one == other)


def _same_program(one: Any, consts: Sequence[Any], other: Any, others: Sequence[Any]) -> bool:
  """Whether two programs inside of an operation are the same, but for the names of variables."""
  if len(one.invars) != len(other.invars) or len(consts) != len(others):
    return False
  if not all(a is b for a, b in zip(consts, others, strict=True)):
    return False
  both = [
    {var: _Place("input", i) for i, var in enumerate([*jaxpr.invars, *jaxpr.constvars])} for jaxpr in (one, other)
  ]
  found = _aligned(list(zip((one, other), both, strict=True)))
  return found is not None and all(places[0] == places[1] for places in found.operands)


def reached(jaxpr: Any) -> list[bool]:
  """Whether each result of a program depends on its inputs, and not on what it closes over alone.

  >>> reached(jax.make_jaxpr(lambda x: (x + 1.0, np.float32(2.0)))(1.0).jaxpr)
  [True, False]
  """
  found = set(jaxpr.invars)
  for eqn in jaxpr.eqns:
    if any(not isinstance(atom, jex.Literal) and atom in found for atom in eqn.invars):
      found.update(eqn.outvars)
  return [not isinstance(atom, jex.Literal) and atom in found for atom in jaxpr.outvars]
