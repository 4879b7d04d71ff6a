"""Trunks as sequences of stages, for architectures that work between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax.adapters import from_linen
from mtl_jax.net import Net


def stages(module: Any) -> tuple[Net, ...]:
  """A trunk of `mtl.nn` as a sequence of nets: each maps what the one before gives, and the first the input.

  The parameters of a stage are those entries of the whole trunk's that it uses, under the same names, so that trained
  trunks can be cut, and the stages of one key together have the whole's parameters of that key.

  Args:
    module: A Linen module with `num_stages`, and `stage` among the arguments of its `__call__`.

  Returns:
    One net per stage.

  Raises:
    UserError: The module has no stages.

  >>> import jax, jax.numpy as jnp, mtl_jax as mtl
  >>> first, second = stages(mtl.nn.MLP((8, 4)))
  >>> params, state = first.init(jax.random.key(0), jnp.ones((2, 3)))
  >>> first.apply(params, state, jnp.ones((2, 3)))[0].shape, list(params)
  ((2, 8), ['Dense_0'])
  """
  found = from_linen(module).stages
  if not found:
    raise UserError(f"stages: {type(module).__name__} has no stages, expected a trunk of mtl.nn.")
  return found


def chosen(module: Any, stage: int | None) -> Iterable[int]:
  """The stages that a call of the module runs."""
  return range(module.num_stages) if stage is None else (stage,)
