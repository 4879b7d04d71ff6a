"""How the results of a traced program depend on some of its arguments: not at all, linearly, or in another way."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np


class Kind(enum.Enum):
  """What is known of a value."""

  ZERO = "zero"
  CONSTANT = "the same whatever the arguments are"
  LINEAR = "linear in the arguments"
  OTHER = "depends on the arguments, and not as far as can be seen linearly"


# Linear in all their operands of floating point together.
_TOGETHER = frozenset(
  """
  add add_any all_gather all_gather_invariant all_to_all broadcast_in_dim complex concatenate conj convert_element_type
  copy cumsum device_put dynamic_slice dynamic_update_slice expand_dims fft gather imag layout_constraint mesh_cast name
  neg optimization_barrier pad pcast ppermute psum psum_invariant pvary real reduce_precision reduce_scatter reduce_sum
  reduce_window_sum reshape reshard rev scatter scatter-add scatter-sub select_n sharding_constraint slice split squeeze
  stack sub tile transpose unstack
  """.split()
)
# Linear in one of these operands while all others are constant.
_ALONE = {
  "conv_general_dilated": (0, 1),
  "div": (0,),
  "dot_general": (0, 1),
  "mul": (0, 1),
  "ragged_dot_general": (0, 1),
  "select_and_scatter_add": (0,),
  "triangular_solve": (1,),
}
# What cannot be looked into is taken for the true derivative of something, which is linear.
_OPAQUE = frozenset({"custom_linear_solve", "ffi_call", "pallas_call"})


def flow(jaxpr: Any, arguments: Sequence[Kind]) -> list[Kind]:
  """The kinds of a program's results, from those of its arguments; what it closes over is constant.

  Gradients come from a backward pass that is linear in its cotangents, unless a `jax.custom_vjp` says otherwise, for
  example by clipping them.

  >>> program = jax.make_jaxpr(lambda x, y: (2.0 * x, x * y, jnp.clip(x, 0.0, 1.0), 0.0 * y))(1.0, 2.0)
  >>> [kind.name for kind in flow(program.jaxpr, [Kind.LINEAR, Kind.CONSTANT])]
  ['LINEAR', 'LINEAR', 'OTHER', 'ZERO']
  """
  kinds = dict.fromkeys(jaxpr.constvars, Kind.CONSTANT) | dict(zip(jaxpr.invars, arguments, strict=True))

  def of(operand: Any) -> Kind:
    if not isinstance(operand, jex.Literal):
      return kinds[operand]
    return Kind.CONSTANT if np.any(operand.val) else Kind.ZERO

  for eqn in jaxpr.eqns:
    kinds.update(zip(eqn.outvars, _results(eqn, list(map(of, eqn.invars))), strict=True))
  return list(map(of, jaxpr.outvars))


def traced(function: Callable[[Any], Any], argument: Any) -> tuple[Callable[[Any], Any], list[Kind]]:
  """The function as traced once, for arguments like this one, and the kinds of its results' leaves."""
  closed, shapes = jax.make_jaxpr(function, return_shape=True)(argument)
  run, structure = jex.jaxpr_as_fun(closed), jax.tree.structure(shapes)
  kinds = flow(closed.jaxpr, [Kind.LINEAR] * len(closed.jaxpr.invars))
  return lambda argument: jax.tree.unflatten(structure, run(*jax.tree.leaves(argument))), kinds


def is_linear(kinds: Sequence[Kind]) -> bool:
  """Whether all are linear; zero is, a constant is not."""
  return all(kind in (Kind.ZERO, Kind.LINEAR) for kind in kinds)


def depends(kind: Kind) -> bool:
  """Whether a value depends on the arguments."""
  return kind in (Kind.LINEAR, Kind.OTHER)


def _results(eqn: Any, kinds: list[Kind]) -> list[Kind]:
  name, params, count = eqn.primitive.name, eqn.params, len(eqn.outvars)
  if name == "scan":
    body = params["jaxpr"].jaxpr
    # JAX has changed how it notes these numbers. What a turn gets or gives one slice of has one axis more outside.
    slices = sum(map(_sliced, eqn.invars, body.invars))
    carried = count - sum(map(_sliced, eqn.outvars, body.outvars))
    return _loop(body, kinds, len(kinds) - slices - carried, carried)
  if name == "while":
    tests, constants = params["cond_nconsts"], params["body_nconsts"]
    results = _loop(params["body_jaxpr"].jaxpr, kinds[tests:], constants, count)
    (test,) = flow(params["cond_jaxpr"].jaxpr, [*kinds[:tests], *results])
    return [Kind.OTHER] * count if depends(test) else results
  if name == "cond":
    if depends(kinds[0]):
      return [Kind.OTHER] * count
    branches = [flow(branch.jaxpr, kinds[1:]) for branch in params["branches"]]
    return [_either(*each) for each in zip(*branches, strict=True)]
  inner = [getattr(value, "jaxpr", value) for value in params.values()]
  inner = [value for value in inner if isinstance(value, jex.Jaxpr)]
  if len(inner) == 1 and len(inner[0].invars) == len(kinds) and len(inner[0].outvars) == count:
    return flow(inner[0], kinds)
  if name in _TOGETHER and count == len(kinds):
    return kinds
  return [_result(eqn, kinds)] * count


def _result(eqn: Any, kinds: list[Kind]) -> Kind:
  name = eqn.primitive.name
  known = {Kind.ZERO, Kind.CONSTANT}
  if name in _TOGETHER and kinds:
    numbers = [jnp.issubdtype(operand.aval.dtype, jnp.inexact) for operand in eqn.invars]
    if known.issuperset(kind for kind, number in zip(kinds, numbers, strict=True) if not number):
      return _either(*(kind for kind, number in zip(kinds, numbers, strict=True) if number))
  elif name in _ALONE:
    if Kind.ZERO in kinds:
      return Kind.ZERO
    others = [i for i, kind in enumerate(kinds) if kind not in known]
    if len(others) == 1 and others[0] in _ALONE[name]:
      return kinds[others[0]]
  elif name in _OPAQUE and Kind.LINEAR in kinds and Kind.OTHER not in kinds:
    return Kind.LINEAR
  return Kind.CONSTANT if known.issuperset(kinds) else Kind.OTHER


def _sliced(outside: Any, inside: Any) -> bool:
  return len(outside.aval.shape) > len(inside.aval.shape)


def _loop(body: Any, kinds: list[Kind], constants: int, carried: int) -> list[Kind]:
  """The kinds of what a loop carries and stacks: those that another turn leaves as they are."""
  fixed, carry, stacked = kinds[:constants], kinds[constants : constants + carried], kinds[constants + carried :]
  while True:
    results = flow(body, [*fixed, *carry, *stacked])
    after = [_either(*pair) for pair in zip(carry, results[:carried], strict=True)]
    if after == carry:
      return [*carry, *results[carried:]]
    carry = after


def _either(*kinds: Kind) -> Kind:
  """Of a sum, or of one of several values: a constant and something linear are together neither."""
  found = set(kinds) - {Kind.ZERO}
  return Kind.ZERO if not found else found.pop() if len(found) == 1 else Kind.OTHER
