"""What the solvers share: their result, the scaling that makes them safe in float32, step lengths."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtl_jax.balance.balancer import Balancer, Stats, gram_balancer

Function = TypeVar("Function", bound=Callable[..., Any])


class Solution(NamedTuple):
  """A solution and how far it is from optimal.

  Attributes:
    x: The solution, (T,) or (B, T).
    residual: A scalar, 0 at the optimum, in the measure that the solver names.
  """

  x: jax.Array
  residual: jax.Array


def report_residual(residual: jax.Array) -> dict[str, jax.Array]:
  """The `report` of a balancer whose state is the residual of its last solution.

  Args:
    residual: That state, a scalar.

  Returns:
    It, by the name `residual`.
  """
  return {"residual": residual}


def solved(
  weigh: Callable[[Stats], Solution], check: Callable[[int], Any] = lambda num_tasks: None, **options: Any
) -> Balancer:
  """The Gram balancer whose weights solve a problem and which reports the solution's residual.

  Args:
    weigh: The weights and the residual.
    check: Raises a `UserError` where the options do not suit the number of tasks; called at initialisation.
    options: As in `Balancer`.

  Returns:
    The balancer; its state is the residual of the last solution.
  """

  def init(num_tasks):
    check(num_tasks)
    return jnp.zeros((), jnp.float32)

  def step(stats, residual):
    solution = weigh(stats)
    return solution.x, solution.residual.astype(residual.dtype)

  return gram_balancer(init, step, report=report_residual, **options)


def full_precision(function: Function) -> Function:
  """`function` with matrix products in the precision of their inputs: on TPU the default is bfloat16."""

  @functools.wraps(function)
  def exact(*args, **kwargs):
    with jax.default_matmul_precision("highest"):
      return function(*args, **kwargs)

  return exact  # pyright: ignore[reportReturnType]


def epsilon(x: jax.Array) -> float:
  """The relative rounding of the dtype of `x`."""
  return float(jnp.finfo(x.dtype).eps)


def norms(gram: Float[Array, "T T"]) -> Float[Array, " T"]:
  """The lengths of the gradients, 0 where rounding left a negative square."""
  return jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0))


def scaled(gram: Float[Array, "T T"], lengths: Float[Array, " T"]) -> Float[Array, "T T"]:
  """G of gradients divided by `lengths`. The order of the divisions keeps 1e30 and 1e-20 within float32."""
  return gram / lengths[:, None] / lengths[None, :]


def directions(gram: Float[Array, "T T"]) -> tuple[Float[Array, "T T"], Float[Array, " T"]]:
  """The cosines between the gradients, and their lengths: scale-free, so short gradients are not lost beside long ones.

  A gradient of length 0 counts as a direction of its own, at right angles to all others. NaN stays NaN.
  """
  lengths = norms(gram)
  cosines = scaled(gram, jnp.where(lengths == 0, 1.0, lengths))
  return jnp.where(jnp.eye(gram.shape[0], dtype=bool), 1.0, cosines), lengths


def relative_norms(gram: Float[Array, "T T"]) -> tuple[Float[Array, " T"], Float[Array, ""]]:
  """The lengths of the gradients relative to the longest, at least 10 roundings, and the longest.

  Shorter gradients are taken as that long: beside the longest their inner products are rounding.
  """
  lengths = norms(gram)
  longest = jnp.max(lengths)
  longest = jnp.where(longest > 0, longest, 1.0)
  return jnp.maximum(lengths / longest, 10 * epsilon(gram)), longest


def to_boundary(x: jax.Array, step: jax.Array) -> jax.Array:
  """The largest multiple of `step` that keeps x at least 0; infinite if any does."""
  falls = step < 0
  return jnp.min(jnp.where(falls, -x / jnp.where(falls, step, -1.0), jnp.inf))
