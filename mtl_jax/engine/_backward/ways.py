"""How each parameter's part of the Gram matrix is made: from factors, or from rows."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.gram import leaf_gram
from mtl_jax.balance.serving import weighted_sum
from mtl_jax.engine._backward.backward import Backward
from mtl_jax.engine._backward.factors import (
  Term,
  continued,
  factored_gradient,
  factored_products,
  factors,
  look_through,
  pays,
  row_products,
  task_axis,
  terms_of,
)
from mtl_jax.engine._backward.program import Equation, Name, Program
from mtl_jax.engine._scatter import scattered

KEPT = 2  # what may be kept, in sizes of all parameters

Source = list[Term] | Name | None  # factors, the name of the rows, or nothing: rows of zeros


class Way(NamedTuple):
  """How a parameter's part of G is made.

  Attributes:
    sources: From what, for each forward pass.
    make: `make(backwards, sources) -> made`, for each of them the factors or rows.
    reduce: `reduce(made)`, the inner products.
    gradient: `gradient(made, weights)`, the weighted gradient; weights for each forward pass.
    held: How many numbers are made, the inputs of layers aside.
  """

  sources: list[Source]
  make: Callable[[list[Backward], list[Source]], list[Any]]
  reduce: Callable[[list[Any]], jax.Array]
  gradient: Callable[[list[Any], list[jax.Array]], jax.Array]
  held: int


def way_of(programs: list[Program], path: str, counts: list[int], products: bool) -> Way:
  """From what a parameter's part of G is made: from factors only if all forward passes have them."""
  groups = [terms_of(program, path) for program in programs]
  known = [terms for terms in groups if terms is not None]
  if len(known) == len(groups) and len({terms[0].layout for terms in known}) == 1:
    pay = products and pays(known, counts)
    if pay or devices.on_one_cpu():
      reduce, gradient = factored_products if pay else row_products, functools.partial(factored_gradient, known[0][0])
      held = sum(n * out * t for t, terms in zip(counts, known, strict=True) for n, _, out in (x.sizes for x in terms))
      return Way([*known], _factors, reduce, gradient, held)
  # Inner products do not need the transpose that may end the way to a gradient, a copy of all rows.
  bare = ("transpose",) if len(programs) == 1 else ()
  found = [look_through(program, program.leaves[path], bare) for program in programs]
  sources: list[Source] = [name for name, _ in found]
  like = programs[0].shapes[path]
  make, gradient = functools.partial(_rows, like), functools.partial(_weighted_rows, found[0][1])
  return Way(
    sources, make, lambda rows: leaf_gram(jnp.concatenate(rows)), gradient, sum(counts) * math.prod(like.shape)
  )


def keeps(ways: dict[str, Way], programs: list[Program], counts: list[int], layers: str | None) -> bool:
  """Whether what is made stays until the weights are known, for the gradients; see `factored`."""
  parameters = sum(math.prod(like.shape) for like in programs[0].shapes.values())
  alone = layers is None and set(counts) == {1} and devices.count() * devices.shards() == 1
  return alone and sum(way.held for way in ways.values()) <= KEPT * parameters


def wanted(source: Source) -> dict[Name, int]:
  """The names, and where the tasks' axis goes."""
  if isinstance(source, list):
    return {name: task_axis(term) for term in source for name in (term.inputs, term.cotangents)}
  return {} if source is None else {source: 0}


def _factors(backwards: list[Backward], sources: list[Source]) -> list[tuple[jax.Array, jax.Array]]:
  return [factors(b, source) for b, source in zip(backwards, sources, strict=True) if isinstance(source, list)]


def _rows(like: jax.ShapeDtypeStruct, backwards: list[Backward], sources: list[Source]) -> list[jax.Array]:
  return [
    backward.rows(source)
    if isinstance(source, int)
    else scattered(jnp.zeros((backward.count, *like.shape), like.dtype), 1)
    for backward, source in zip(backwards, sources, strict=True)
  ]


def _weighted_rows(after: list[Equation], rows: list[jax.Array], weights: list[jax.Array]) -> jax.Array:
  return continued(after, weighted_sum(jnp.concatenate(weights), jnp.concatenate(rows)))
