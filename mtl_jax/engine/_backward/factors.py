"""Kernel gradients as products of layer inputs and output cotangents, and inner products without the kernels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from mtl_jax._core import devices
from mtl_jax._core.gram import inner_products
from mtl_jax._core.pieces import even, in_pieces
from mtl_jax.engine._backward.backward import Backward
from mtl_jax.engine._backward.program import Equation, Name, Program

# What a float32 product of highest precision costs in products of the default one, off CPU: six bfloat16 passes on TPU,
# and about as much in GPU arithmetic without TF32.
_PASSES = 6
_MADE = 2**21  # numbers made at a time on CPU on the way to inner products: of full speed, and no more with more tasks
_HIGHEST = (jax.lax.Precision.HIGHEST, (jax.lax.Precision.HIGHEST,) * 2)
_BARE = ("transpose", "reshape", "squeeze", "expand_dims", "copy", "convert_element_type")


class Term(NamedTuple):
  """A product that makes (part of) a kernel's gradient, `A^T D` but for the order and grouping of its axes.

  Attributes:
    inputs: The name of A, the same for all tasks.
    cotangents: The name of D, of each task.
    axes: Those of A and of D that are summed over, the examples, in the same order.
    sizes: (n, in, out): examples summed over, and the entries of A and D for each.
    passes: What a product of highest precision costs in products like this one.
    layout: What the products must have in common before they can be added up: the order of all other axes.
    kernel: `kernel(a, d)`, the gradient from A (n, in) and D (n, out).
  """

  inputs: Name
  cotangents: Name
  axes: tuple[tuple[int, ...], tuple[int, ...]]
  sizes: tuple[int, int, int]
  passes: int
  layout: Any
  kernel: Callable[[jax.Array, jax.Array], jax.Array]


def terms_of(program: Program, path: str) -> list[Term] | None:
  """The products that add up to a parameter's gradient; None where it is anything else.

  Inner products do not care how axes are ordered and grouped, so transposes and reshapes after the product are
  looked through. A kernel used by several layers is the sum of their products, if they lie in the same order.
  """
  found = _terms(program, program.leaves[path], [])
  return found if found and len({term.layout for term in found}) == 1 else None


def _terms(program: Program, name: Any, after: list[Equation]) -> list[Term] | None:
  name, bare = look_through(program, name, _BARE)
  after = [*after, *bare]
  if not isinstance(name, Name) or name not in program.makers or name not in program.tasked:
    return None
  equation = program.equations[program.makers[name]]
  eqn = equation.eqn
  if eqn is None:
    return None
  if eqn.primitive.name == "add_any":
    parts = [_terms(program, part, after) for part in equation.inputs]
    return None if None in parts else [term for part in parts for term in part or ()]
  if eqn.primitive.name != "dot_general":
    return None
  contracted, batched = eqn.params["dimension_numbers"]
  tasked = [not isinstance(o, jex.Literal) and o in program.tasked for o in equation.inputs]
  if any(batched) or sum(tasked) != 1 or not jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating):
    return None
  shared = tasked.index(False)
  axes = (tuple(contracted[shared]), tuple(contracted[1 - shared]))
  a, d = eqn.invars[shared].aval, eqn.invars[1 - shared].aval
  n = math.prod(a.shape[axis] for axis in axes[0])
  sizes = (n, a.size // max(n, 1), d.size // max(n, 1))
  exact = devices.platform() == "cpu" or eqn.params["precision"] in _HIGHEST
  layout = (*map(_reordering, after), shared, eqn.outvars[0].aval.shape, a.dtype, d.dtype)
  names = (equation.inputs[shared], equation.inputs[1 - shared])
  kernel = functools.partial(_kernel, eqn, shared, after)
  return [Term(names[0], names[1], axes, sizes, 1 if exact else _PASSES, layout, kernel)]


def _kernel(eqn: Any, shared: int, after: list[Equation], a: jax.Array, d: jax.Array) -> jax.Array:
  """The product of this equation for any number of examples, and what comes after it."""
  numbers = (((0,), (0,)), ((), ()))
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


def pays(groups: list[list[Term]], counts: list[int]) -> bool:
  """Whether inner products from the factors cost less than the rows and their inner products.

  Args:
    groups: For each forward pass the products that make the kernel's gradient.
    counts: The number of tasks of each.

  Returns:
    Whether. Only multiplications count; inner products, which G needs exactly, are of highest precision either way.
  """
  return factor_work(groups, counts) < row_work(groups, counts)


def row_work(groups: list[list[Term]], counts: list[int]) -> int:
  """The multiplications of all rows and their inner products."""
  tasks, (_, width, out), passes = sum(counts), groups[0][0].sizes, groups[0][0].passes
  made = sum(t * m * width * out for t, m in zip(counts, _examples(groups), strict=True))
  return made + passes * tasks**2 * width * out


def factor_work(groups: list[list[Term]], counts: list[int]) -> int:
  """Those of the inner products from the factors."""
  (_, width, out), n = groups[0][0].sizes, _examples(groups)
  pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1)]
  each = [n[i] * n[j] * (width + counts[j] * out) + counts[i] * counts[j] * n[i] * out for i, j in pairs]
  return groups[0][0].passes * sum(each) * devices.count()


def _examples(groups: list[list[Term]]) -> list[int]:
  return [sum(term.sizes[0] for term in terms) for terms in groups]


def task_axis(term: Term) -> int:
  """Where the tasks of D are best stacked: behind the examples, so that no product transposes them."""
  examples = term.axes[1]
  return len(examples) if examples == tuple(range(len(examples))) else 1


def factors(backward: Backward, terms: list[Term]) -> tuple[jax.Array, jax.Array]:
  """A, (n, in), and all D, (n, T, out), of the layers that use a kernel, one after the other along n."""
  a = [_examples_first(backward.get(term.inputs), term.axes[0], 0) for term in terms]
  d = [_examples_first(backward.get(term.cotangents), term.axes[1], 1) for term in terms]
  return jnp.concatenate(a), jnp.concatenate(d)


def _examples_first(x: jax.Array, axes: tuple[int, ...], tasks: int) -> jax.Array:
  """Merges the axes summed over, and all others; between them goes that of the tasks, the first, if there is one."""
  summed = [axis + tasks for axis in axes]
  others = [axis for axis in range(tasks, x.ndim) if axis not in summed]
  x = jnp.transpose(x, [*summed, *range(tasks), *others])
  n = math.prod(x.shape[: len(summed)])
  return x.reshape(n, *x.shape[len(summed) : len(summed) + tasks], -1)


def factored_gradient(term: Term, groups: list[tuple[jax.Array, jax.Array]], weights: list[jax.Array]) -> jax.Array:
  r"""$A^T \sum_t w_t D_t$, in the kernel's shape; `term` is any of its products."""
  d = [
    jnp.einsum("nto,t->no", d, w.astype(d.dtype), precision="highest")
    for (_, d), w in zip(groups, weights, strict=True)
  ]
  return term.kernel(jnp.concatenate([a for a, _ in groups]), jnp.concatenate(d))


def factored_products(groups: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
  r"""$\langle A_i^T D_s, A_j^T D_t \rangle = \sum D_s \odot (A_i A_j^T D_t)$ for the tasks s, t of all groups i, j."""
  everywhere = devices.gather(groups)  # a device's own examples meet those of all
  if all(d.shape[1] == 1 for _, d in groups):
    return _one_task_each(groups, everywhere)
  blocks: list[list[Any]] = [[None] * len(groups) for _ in groups]
  for i, (a, d) in enumerate(groups):
    for j, (b, e) in enumerate(everywhere[: i + 1]):
      kernel = jnp.matmul(a, b.T, precision="highest", preferred_element_type=jnp.float32)
      blocks[i][j] = _through(kernel, d, e)
      blocks[j][i] = blocks[i][j].T
  return jnp.block(blocks)


def _one_task_each(
  groups: list[tuple[jax.Array, jax.Array]], everywhere: list[tuple[jax.Array, jax.Array]]
) -> jax.Array:
  r"""The same for groups of one task: $A A^T \odot D D^T$ over all examples, summed over each two tasks'."""
  exact = functools.partial(jnp.matmul, precision="highest", preferred_element_type=jnp.float32)
  (a, d), (b, e) = (
    [jnp.concatenate([x.reshape(len(x), -1) for x in factor]) for factor in zip(*some, strict=True)]
    for some in (groups, everywhere)
  )
  left, right = (
    jax.nn.one_hot(np.repeat(range(len(some)), [len(x) for x, _ in some]), len(some)) for some in (groups, everywhere)
  )
  return exact(left.T, exact(exact(a, b.T) * exact(d, e.T), right))


def _through(kernel: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
  """The inner products of (n, S, out) and the (n, m) matrix times (m, T, out), for some of the T at a time on CPU."""
  (n, count, out), tasks = left.shape, right.shape[1]
  left = left.astype(jnp.float32)

  def some(start, size, total):
    part = jax.lax.dynamic_slice_in_dim(right, start, size, 1).astype(jnp.float32)
    product = jnp.einsum("nm,mto->nto", kernel, part, precision="highest")
    return jax.lax.dynamic_update_slice_in_dim(total, inner_products(left, product, axis=1), start, 1)

  size = even(tasks, max(_MADE // (n * out), 1)) if devices.on_one_cpu() else tasks
  return in_pieces(tasks, size, some, jnp.zeros((count, tasks), jnp.float32))


def row_products(groups: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
  """The inner products of all A^T D, made and reduced for some of A's columns at a time."""
  groups = [(a.astype(jnp.float32), d.astype(jnp.float32)) for a, d in groups]
  width, tasks, out = groups[0][0].shape[1], sum(d.shape[1] for _, d in groups), groups[0][1].shape[2]

  def some(start, size, total):
    columns = [jax.lax.dynamic_slice_in_dim(a, start, size, 1) for a, _ in groups]
    products = [jnp.einsum("ni,nto->ito", a, d, precision="highest") for a, (_, d) in zip(columns, groups, strict=True)]
    rows = jnp.concatenate(products, axis=1)
    return total + inner_products(rows, rows, axis=1)

  size = even(width, max(_MADE // (tasks * out), 1))
  return in_pieces(width, size, some, jnp.zeros((tasks, tasks), jnp.float32))
