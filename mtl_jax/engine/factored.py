"""The `factored` engine: the exact Gram matrix of the task gradients without the gradients of dense kernels."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core import devices
from mtl_jax._core.errors import UserError
from mtl_jax._jaxpr.flow import is_linear, traced
from mtl_jax.engine._backward.backward import begin
from mtl_jax.engine._backward.program import Program, trace
from mtl_jax.engine._backward.running import runner
from mtl_jax.engine._backward.ways import keeps, way_of
from mtl_jax.engine._cotangents import Cotangents
from mtl_jax.engine._engine import Engine, weighing
from mtl_jax.engine.linearized import Linearized, Pullback, in_place, in_task_order


def factored(*, one_by_one: bool | None = None) -> Engine:
  r"""The exact $G$ from layer inputs and cotangents: one forward, T activation-only and one full backward pass.

  $$ \langle g_s, g_t \rangle = \sum_{dense} \sum D_s \odot (A A^T D_t) + \sum_{other\ leaves} \langle g_s, g_t \rangle,
  \qquad update = \nabla_{shared} \sum_t w_t(G)\, l_t $$

  with A (n, in) the inputs of a dense layer over the n examples (and positions) of the batch, and D_t (n, out) the
  gradients of loss t with respect to its outputs: the kernel's gradient is $A^T D_t$, which is never made. Each layer
  takes the way of fewer multiplications, this one if n is small against in and out. Convolutions, normalisation,
  embeddings, biases, and layers inside `scan` keep the way of `gram`: rows, reduced at once. On one device,
  where each task has inputs of its own, D and rows stay if they take no more than twice the memory of the parameters;
  the last backward pass is then one product per kernel, over the examples of all tasks.

  Under data parallelism devices see each other's A and D, n (in + T out) numbers per layer, in place of its rows.

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

  def gram(linearized, balancer):
    return factored_gram(linearized, balancer.layers, one_by_one=one_by_one)

  return weighing("factored", frozenset({"losses", "gram", "cross_gram"}), gram)


def factored_gram(
  linearized: Linearized, layers: str | None, *, one_by_one: bool | None = None, products: bool = True
) -> tuple[jax.Array, Linearized]:
  """G over the tasks of all pullbacks, in their order, float32, and the objective with what is left of its pullbacks.

  The backward passes of all tasks run side by side, from one parameter to the next. Each is reduced to its part of G,
  before which nothing of what leads to earlier layers runs, so that the compiler cannot keep what is reduced.

  Args:
    linearized: The objective after its forward pass.
    layers: Which shared parameters count, as in `Balancer`; the backward passes end with the last of them.
    one_by_one: Run each piece for one task after the other; None: where the compiler divides arrays among devices.
    products: Whether the way by A A^T may be taken, where it is the shorter.
  """
  pullbacks = linearized.pullbacks
  programs = [trace(pullback, layers) for pullback in pullbacks]
  counts = [len(pullback.cotangents) for pullback in pullbacks]
  if not programs[0].leaves:
    raise UserError("no parameter is shared, so there are no gradients to balance: use a loss weighter.")
  ways = {path: way_of(programs, path, counts, products) for path in programs[0].leaves}
  first = programs[0]
  stages = sorted(
    (path for path, way in ways.items() if any(map(way.wanted, range(len(programs))))),
    key=lambda path: -1 if (name := first.leaves[path]) is None else first.makers.get(name, -1),
  )
  keep = keeps(ways, programs, counts, layers)
  in_turn = devices.is_divided() if one_by_one is None else one_by_one
  backwards = [
    begin(program, pullback, [ways[path].wanted(i) for path in stages], runner(count, one_by_one=in_turn), keep=keep)
    for i, (program, pullback, count) in enumerate(zip(programs, pullbacks, counts, strict=True))
  ]
  total, kept = jnp.zeros((sum(counts),) * 2, jnp.float32), {}
  for stage, path in enumerate(stages):
    way = ways[path]
    backwards = [backward.run(stage) for backward in backwards]
    made = way.make(backwards)
    total += way.gram(made)
    if keep:
      kept[path] = functools.partial(way.gradient, made)
    backwards = [backward.then(stage, total[0, 0]) for backward in backwards]
  total = devices.total(total)
  if keep:
    linearized = linearized._replace(pullbacks=(_short(linearized, first, kept),))
  else:
    each = [_weighing(pullback, program, sum(counts)) for pullback, program in zip(pullbacks, programs, strict=True)]
    linearized = linearized._replace(pullbacks=tuple(each))
  back = in_task_order(pullbacks)
  return total if in_place(back) else total[back][:, back], linearized


def _weighing(pullback: Pullback, program: Program, count: int) -> Pullback:
  """The pullback whose gradients for weights of `count` tasks are the weighted gradients.

  Backward passes that are not linear, by a `jax.custom_vjp`, are run for each task: of a weighted sum of losses they
  would make something else.
  """
  weighted, kinds = traced(pullback.weighted, jax.ShapeDtypeStruct((count,), jnp.float32))
  if program.linear and is_linear(kinds):
    return pullback._replace(weighted=weighted)

  def pull(weights):
    total = None if pullback.pull_terms is None else pullback.pull_terms()
    for task, gradient in zip(pullback.tasks, pullback.each(), strict=True):
      row = jax.tree.map(lambda x, w=weights[task]: w.astype(x.dtype) * x, gradient)
      total = row if total is None else jax.tree.map(jnp.add, total, row)
    return total

  return pullback._replace(weighted=lambda weights: weights, pull=pull, pull_all=None)


def _short(linearized: Linearized, program: Program, kept: dict[str, Any]) -> Pullback:
  """The way back from what is kept for each parameter, for all tasks."""

  def pull(weights):
    groups = [weights[np.array(pullback.tasks)] for pullback in linearized.pullbacks]
    grads = [
      kept[path](groups) if path in kept else jnp.zeros(like.shape, like.dtype)
      for path, like in program.parameters.items()
    ]
    return linearized.with_terms(jax.tree.unflatten(jax.tree.structure(linearized.shared), grads))

  tasks = tuple(task for pullback in linearized.pullbacks for task in pullback.tasks)
  return Pullback(tasks, Cotangents(()), lambda weights: weights, pull)
