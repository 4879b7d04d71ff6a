"""The equations of traced programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.core
import jax.extend.core as jex


def convolves(eqn: Any) -> bool:
  """Whether an equation is a convolution or holds one."""
  return eqn.primitive.name == "conv_general_dilated" or any(map(convolves, inner(eqn)))


def inner(eqn: Any) -> Iterable[Any]:
  """The equations inside an equation, of loops, branches and calls."""
  for program in programs_in(eqn):
    yield from jaxpr_of(program).eqns


def programs_in(eqn: Any) -> Iterable[Any]:
  """The programs inside an equation, closed or not."""
  for value in eqn.params.values():
    yield from (
      each for each in (value if isinstance(value, (tuple, list)) else (value,)) if jaxpr_of(each) is not None
    )


def jaxpr_of(value: Any) -> Any:
  """The jaxpr that a value is or closes over; None: it is no program. Newer versions of JAX have one type for both."""
  jaxpr = getattr(value, "jaxpr", value)
  return jaxpr if isinstance(jaxpr, jex.Jaxpr) else None


def function_of(jaxpr: Any, eqn: Any) -> Callable[..., list[jax.Array]]:
  """The equation as a function of all its operands but literals."""
  variables = [var for var in eqn.invars if not isinstance(var, jex.Literal)]
  unnamed = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
  distinct = list(dict.fromkeys(variables))
  alone = jaxpr.replace(constvars=(), invars=distinct, outvars=eqn.outvars, eqns=[eqn], debug_info=unnamed)

  def run(*operands: Any) -> list[jax.Array]:
    with jax.debug_nans(False):  # what works with NaN inside had the check off when it was traced
      return jax.core.eval_jaxpr(alone, (), *(operands[variables.index(var)] for var in distinct))

  return run
