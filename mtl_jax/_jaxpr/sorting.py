"""The best k by a sort, for runtimes that find them in no array of free size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from mtl_jax._jaxpr.equations import function_of, jaxpr_of


def sorting(function: Callable[..., Any]) -> Callable[..., Any]:
  """The same function, with sorts in the place of `jax.lax.top_k`, but for those in loops and branches.

  Args:
    function: Any function of pytrees that can be traced.

  Returns:
    A function with the same results.

  >>> values, places = sorting(lambda x: jax.lax.top_k(x, 3))(jnp.array([[1.0, 3.0, 0.0, 3.0]]))
  >>> values.tolist(), places.tolist()
  ([[3.0, 3.0, 1.0]], [[1, 3, 0]])
  """

  def run(*args):
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    return jax.tree.unflatten(jax.tree.structure(shapes), _evaluate(closed, *jax.tree.leaves(args)))

  return run


def _evaluate(program: Any, *args: Any) -> list[Any]:
  jaxpr, consts = jaxpr_of(program), getattr(program, "consts", ())
  values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
  for eqn in jaxpr.eqns:
    read = [operand.val if isinstance(operand, jex.Literal) else values[operand] for operand in eqn.invars]
    if eqn.primitive.name == "top_k":
      results = _sorted(read[0], eqn.params["k"], eqn.params.get("axis", -1))
    elif eqn.primitive.name in ("jit", "pjit"):
      results = _evaluate(eqn.params["jaxpr"], *read)
    else:
      named = [value for value, operand in zip(read, eqn.invars, strict=True) if not isinstance(operand, jex.Literal)]
      results = function_of(jaxpr, eqn)(*named)
    values.update(zip(eqn.outvars, results, strict=True))
  return [operand.val if isinstance(operand, jex.Literal) else values[operand] for operand in jaxpr.outvars]


def _sorted(x: jax.Array, k: int, axis: int) -> list[jax.Array]:
  order = jnp.argsort(x, axis=axis, descending=True, stable=True)
  order = jax.lax.slice_in_dim(order, 0, k, axis=axis)
  return [jnp.take_along_axis(x, order, axis=axis, mode="promise_in_bounds"), order]
