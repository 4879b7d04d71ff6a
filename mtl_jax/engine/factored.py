"""The `factored` engine: the exact Gram matrix of the task gradients without the gradients of dense kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from mtl_jax import _devices
from mtl_jax._errors import UserError
from mtl_jax.balance._gram import leaf_gram, on_one_cpu
from mtl_jax.engine._backward import Backward
from mtl_jax.engine._engine import Engine, weighing
from mtl_jax.engine._factors import (
  AT_ONCE,
  Term,
  factored_products,
  factors,
  look_through,
  pays,
  row_products,
  task_axis,
  terms_of,
)
from mtl_jax.engine._linearize import Pullback, in_task_order
from mtl_jax.engine._program import Name, Program, trace
from mtl_jax.engine._scatter import scattered

Source = list[Term] | Name | None  # factors, the name of the rows, or nothing: rows of zeros


class Plan(NamedTuple):
  """How a parameter's part of G is made: for each forward pass from what, and how factors are reduced."""

  sources: list[Source]
  reduce: Callable[[list[tuple[jax.Array, jax.Array]]], jax.Array] | None = None


def factored(*, one_by_one: bool | None = None) -> Engine:
  r"""The exact $G$ from layer inputs and cotangents: one forward, T activation-only and one full backward pass.

  $$ \langle g_s, g_t \rangle = \sum_{dense} \sum D_s \odot (A A^T D_t) + \sum_{other\ leaves} \langle g_s, g_t \rangle,
  \qquad update = \nabla_{shared} \sum_t w_t(G)\, l_t $$

  with A (n, in) the inputs of a dense layer over the n examples (and positions) of the batch, and D_t (n, out) the
  gradients of loss t with respect to its outputs: the kernel's gradient is $A^T D_t$, which is never made. Each layer
  takes the way of fewer multiplications, this one if n is small against in and out. Convolutions, normalisation,
  embeddings, biases, and layers inside `scan` keep the way of `gram`: rows, reduced at once.

  Under data parallelism devices see each other's A and D, n (in + T out) numbers a layer, in place of its rows.

  It looks at the traced backward pass, not at modules, so it works for networks of any library.

  Args:
    one_by_one: Run each piece of the backward passes for one task after the other instead of as one batch, on CPU as
      batches of a few tasks; None: in turn where the compiler divides arrays among devices, batched elsewhere.

  Returns:
    The engine. It serves what `gram` serves, with the same G.

  >>> factored().name
  'factored'

  References:
    Goodfellow, *Efficient Per-Example Gradient Computations*, 2015, for the norms of gradients of dense layers. The
    inner products of several losses over a batch are the same idea, with A A^T in the place of the inputs' norms.
  """

  def matrix(linearized, balancer):
    return factored_gram(linearized.pullbacks, balancer.layers, one_by_one=one_by_one)

  return weighing("factored", frozenset({"losses", "gram", "cross_gram"}), matrix)


def factored_gram(
  pullbacks: tuple[Pullback, ...], layers: str | None, *, one_by_one: bool | None = None, products: bool = True
) -> jax.Array:
  """G over the tasks of all pullbacks, in their order, float32.

  The backward passes of all tasks run side by side, from one parameter to the next. Each is reduced to its part of G,
  before which nothing of what leads to earlier layers runs, so that the compiler cannot keep what is reduced.

  Args:
    pullbacks: The tasks, those with the same features together.
    layers: Which shared parameters count, as in `Balancer`; the backward passes end with the last of them.
    one_by_one: Run each piece for one task after the other; None: where the compiler divides arrays among devices.
    products: Whether the way by A A^T may be taken, where it is the shorter.
  """
  programs = [trace(pullback, layers) for pullback in pullbacks]
  counts = [len(pullback.cotangents) for pullback in pullbacks]
  if not programs[0].leaves:
    raise UserError("no parameter is shared, so there are no gradients to balance: use a loss weighter.")
  plans = {path: _plan(programs, path, counts, products) for path in programs[0].leaves}
  first = programs[0]
  in_turn = _devices.is_divided() if one_by_one is None else one_by_one
  # A gradient that does not depend on the cotangents is 0, since it is linear in them.
  stages = sorted(
    (path for path, plan in plans.items() if any(_wanted(each) for each in plan.sources)),
    key=lambda path: -1 if isinstance(first.leaves[path], jex.Literal) else first.makers.get(first.leaves[path], -1),
  )
  backwards = [
    Backward(
      program,
      pullback,
      [_wanted(plans[path].sources[i]) for path in stages],
      at_once=None if in_turn else AT_ONCE,
    )
    for i, (program, pullback) in enumerate(zip(programs, pullbacks, strict=True))
  ]
  total = jnp.zeros((sum(counts),) * 2, jnp.float32)
  for stage, path in enumerate(stages):
    for backward in backwards:
      backward.run(stage)
    total += _part(backwards, path, plans[path])
    for backward in backwards:
      backward.release(stage, total[0, 0])
  total = _devices.total(total)
  back = in_task_order(pullbacks)
  return total[back][:, back] if len(pullbacks) > 1 else total


def _plan(programs: list[Program], path: str, counts: list[int], products: bool) -> Plan:
  """From what a parameter's part of G is made: from factors only if all forward passes have them."""
  groups = [terms_of(program, path) for program in programs]
  known = [terms for terms in groups if terms is not None]
  if len(known) == len(groups) and len({terms[0].layout for terms in known}) == 1:
    if products and pays(known, counts):
      return Plan([*known], factored_products)
    if on_one_cpu():
      return Plan([*known], row_products)
  # Inner products do not need the transpose that may end the way to a gradient, a copy of all rows.
  bare = ("transpose",) if len(programs) == 1 else ()
  rows = [look_through(program, program.leaves[path], bare)[0] for program in programs]
  return Plan(
    [
      row if isinstance(row, int) and row in program.tasked else None
      for row, program in zip(rows, programs, strict=True)
    ]
  )


def _wanted(source: Source) -> dict[Name, int]:
  """The names, and where the tasks' axis goes."""
  if isinstance(source, list):
    return {name: task_axis(term) for term in source for name in (term.inputs, term.cotangents)}
  return {} if source is None else {source: 0}


def _part(backwards: list[Backward], path: str, plan: Plan) -> jax.Array:
  """One parameter's part of G."""
  if plan.reduce is not None:
    pairs = zip(backwards, plan.sources, strict=True)
    return plan.reduce([factors(b, source) for b, source in pairs if isinstance(source, list)])
  rows = [_rows(b, path, source) for b, source in zip(backwards, plan.sources, strict=True)]
  return leaf_gram(jnp.concatenate(rows))


def _rows(backward: Backward, path: str, source: Source) -> jax.Array:
  like = backward.program.shapes[path]
  if isinstance(source, int):
    return backward.rows(source)
  return scattered(jnp.zeros((backward.count, *like.shape), like.dtype), 1)
