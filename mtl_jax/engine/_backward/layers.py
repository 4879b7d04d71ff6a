"""Layers whose kernel gradient is a product of their inputs and the gradients at their outputs: found, not declared.

A new kind of layer is one more function in `KINDS`, by the name of the operation that makes its kernel's gradient.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax.engine._backward.program import Equation, Name, Program

# What a float32 product of highest precision costs in products of the default one, off CPU: six bfloat16 passes on TPU,
# and about as much in GPU arithmetic without TF32.
_PASSES = 6
_HIGHEST = (jax.lax.Precision.HIGHEST, (jax.lax.Precision.HIGHEST,) * 2)
_BARE = ("transpose", "reshape", "squeeze", "expand_dims", "copy", "convert_element_type")


class Product(NamedTuple):
  """A product that makes (part of) a kernel's gradient, `A^T D` but for the order and grouping of its axes.

  Attributes:
    inputs: The name of A, the same for all tasks that share a forward pass.
    cotangents: The name of D, of each task.
    axes: Those of A and of D that are summed over, the examples, in the same order.
    sizes: (n, in, out): examples summed over, and the entries of A and D for each.
    passes: What a product of highest precision costs in products like this one.
    layout: What the products must have in common before they can be added up: the order of all other axes.
    kernel: `kernel(a, d)`, the gradient from A (n, in) and D (n, out), or for blocks (K, n, in) and (K, n, out).
    blocks: K: the kernel is so many kernels, each with its own A and D, as those of experts that run as one.
    apart: The axes of A and of D that tell the blocks apart, in the same order.
  """

  inputs: Name
  cotangents: Name
  axes: tuple[tuple[int, ...], tuple[int, ...]]
  sizes: tuple[int, int, int]
  passes: int
  layout: Any
  kernel: Callable[[jax.Array, jax.Array], jax.Array]
  blocks: int = 1
  apart: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


def products_of(program: Program, path: str) -> list[Product] | None:
  """The products that add up to a parameter's gradient; None where it is anything else.

  Inner products do not care how axes are ordered and grouped, so transposes and reshapes after the product are
  looked through. A kernel used by several layers is the sum of their products, if they lie in the same order.
  """
  found = _found(program, program.leaves[path], [])
  return found if found and len({product.layout for product in found}) == 1 else None


def _found(program: Program, name: Any, after: list[Equation]) -> list[Product] | None:
  name, bare = look_through(program, name, _BARE)
  after = [*after, *bare]
  if not isinstance(name, Name) or name not in program.makers or name not in program.passed:
    return None
  equation = program.equations[program.makers[name]]
  find = KINDS.get(equation.eqn.primitive.name) if equation.eqn is not None else None
  return None if find is None else find(program, equation, after)


def _sum(program: Program, equation: Equation, after: list[Equation]) -> list[Product] | None:
  """A kernel used by several layers."""
  parts = [_found(program, part, after) for part in equation.inputs]
  return None if None in parts else [product for part in parts for product in part or ()]


def _dense(program: Program, equation: Equation, after: list[Equation]) -> list[Product] | None:
  """A product of the layer's inputs with the gradients at its outputs, summed over the examples and positions.

  Layers that run as one, such as those of experts, make one product with their number as a batch axis.
  """
  eqn = equation.eqn
  contracted, batched = eqn.params["dimension_numbers"]
  passed = [not isinstance(o, jex.Literal) and o in program.passed for o in equation.inputs]
  if sum(passed) != 1 or not jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating):
    return None
  shared = passed.index(False)
  axes = (tuple(contracted[shared]), tuple(contracted[1 - shared]))
  a, d = eqn.invars[shared].aval, eqn.invars[1 - shared].aval
  apart = (tuple(batched[shared]), tuple(batched[1 - shared]))
  n, blocks = (math.prod(a.shape[axis] for axis in some) for some in (axes[0], apart[0]))
  sizes = (n, a.size // max(n * blocks, 1), d.size // max(n * blocks, 1))
  exact = devices.platform() == "cpu" or eqn.params["precision"] in _HIGHEST
  layout = (*map(_reordering, after), shared, apart, eqn.outvars[0].aval.shape, a.dtype, d.dtype)
  names = (equation.inputs[shared], equation.inputs[1 - shared])
  kernel = functools.partial(_kernel, eqn, shared, after)
  return [Product(names[0], names[1], axes, sizes, 1 if exact else _PASSES, layout, kernel, blocks, apart)]


# By the operation that makes a kernel's gradient: the products that it is the sum of, or None.
KINDS: dict[str, Callable[[Program, Equation, list[Equation]], list[Product] | None]] = {
  "add_any": _sum,
  "dot_general": _dense,
}


def _kernel(eqn: Any, shared: int, after: list[Equation], a: jax.Array, d: jax.Array) -> jax.Array:
  """The product of this equation for any number of examples, and what comes after it."""
  numbers = (((1,), (1,)), ((0,), (0,))) if a.ndim > 2 else (((0,), (0,)), ((), ()))
  left, right = (d, a) if shared else (a, d)
  precision, dtype = eqn.params["precision"], eqn.params["preferred_element_type"]
  product = jax.lax.dot_general(left, right, numbers, precision=precision, preferred_element_type=dtype)
  return continued(after, product.reshape(eqn.outvars[0].aval.shape))


def continued(after: list[Equation], value: jax.Array) -> jax.Array:
  """What operations that were looked through make of a value."""
  for equation in reversed(after):
    (value,) = equation.function(value)
  return value


def _reordering(equation: Equation) -> Any:
  source = equation.eqn.invars[0].aval
  return equation.eqn.primitive.name, source.shape, source.dtype, str(equation.eqn.params.get("permutation"))


def look_through(program: Program, name: Any, kinds: tuple[str, ...]) -> tuple[Any, list[Equation]]:
  """What a value was before the operations of these kinds that end the way to it, and them, the last first."""
  passed = []
  while isinstance(name, Name) and name in program.makers:
    equation = program.equations[program.makers[name]]
    eqn = equation.eqn
    if eqn is None or eqn.primitive.name not in kinds or not jnp.issubdtype(eqn.invars[0].aval.dtype, jnp.floating):
      break
    if isinstance(equation.inputs[0], jex.Literal):
      break
    passed.append(equation)
    name = equation.inputs[0]
  return name, passed
