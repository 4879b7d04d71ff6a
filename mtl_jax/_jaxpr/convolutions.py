"""Convolutions in loops and branches, on CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from mtl_jax._core import devices
from mtl_jax._jaxpr.equations import convolves, function_of, inner

_LOOPS = ("scan", "while", "cond")


def canonical(function: Callable[..., Any]) -> Callable[..., Any]:
  """The same function, on one CPU device with all convolutions over (N, ..., C) and (..., I, O), if any is in a loop.

  XLA's CPU compiler brings only the convolutions outside loops and branches into the order of axes for which it has
  fast code. The gradient of a kernel takes 100 times as long inside (jax 0.10.2, 3 x 3, 32 to 64 channels, two cores).

  Args:
    function: Any function of pytrees that can be traced.

  Returns:
    A function with the same results.

  >>> images, kernel = jnp.ones((2, 3, 4, 4)), jnp.ones((5, 3, 1, 1))  # NCHW, OIHW
  >>> looped = lambda x: jax.lax.map(lambda one: jax.lax.conv(one[None], kernel, (1, 1), "SAME"), x)
  >>> bool((canonical(looped)(images) == looped(images)).all())
  True
  """

  def run(*args):
    if not devices.on_one_cpu():
      return function(*args)
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    rewrite = any(map(_loops, closed.jaxpr.eqns))
    flat = functools.partial(_evaluate, closed.jaxpr, closed.consts) if rewrite else jex.jaxpr_as_fun(closed)
    results = flat(*jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(shapes), results)

  return run


def _evaluate(jaxpr: jex.Jaxpr, consts: Any, *args: Any) -> list[Any]:
  values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
  read = lambda operand: operand.val if isinstance(operand, jex.Literal) else values[operand]  # noqa: E731
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == "conv_general_dilated":
      results = [_convolve(eqn, *map(read, eqn.invars))]
    else:
      eqn = eqn.replace(params={key: _rewritten(value) for key, value in eqn.params.items()})
      variables = [o for o in eqn.invars if not isinstance(o, jex.Literal)]
      results = function_of(jaxpr, eqn)(*map(read, variables))
    values.update(zip(eqn.outvars, results, strict=True))
  return [read(operand) for operand in jaxpr.outvars]


def _convolve(eqn: Any, left: jax.Array, right: jax.Array) -> jax.Array:
  numbers = eqn.params["dimension_numbers"]
  (n, c, *space), (o, i, *window), (out_n, out_c, *out_space) = numbers
  rank = len(numbers.lhs_spec)
  images, kernel = (0, rank - 1, *range(1, rank - 1)), (rank - 1, rank - 2, *range(rank - 2))
  params = eqn.params | {"dimension_numbers": type(numbers)(images, kernel, images)}
  out = eqn.primitive.bind(left.transpose(n, *space, c), right.transpose(*window, i, o), **params)
  return jnp.transpose(out, [int(axis) for axis in np.argsort([out_n, *out_space, out_c])])


def _rewritten(value: Any) -> Any:
  """A parameter of an equation, with the functions it holds rewritten where they convolve."""
  if isinstance(value, (tuple, list)):
    return type(value)(map(_rewritten, value)) if any(map(_holds, value)) else value
  if not _holds(value):
    return value
  jaxpr, consts = getattr(value, "jaxpr", value), getattr(value, "consts", ())
  rewritten = jax.make_jaxpr(functools.partial(_evaluate, jaxpr, consts))(*(var.aval for var in jaxpr.invars))
  return rewritten.jaxpr if value is jaxpr else rewritten


def _holds(value: Any) -> bool:
  jaxpr = getattr(value, "jaxpr", value)
  return isinstance(jaxpr, jex.Jaxpr) and any(map(convolves, jaxpr.eqns))


def _loops(eqn: Any) -> bool:
  """Whether a loop or branch in it convolves."""
  return (eqn.primitive.name in _LOOPS and convolves(eqn)) or any(map(_loops, inner(eqn)))
