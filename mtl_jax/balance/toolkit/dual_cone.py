"""What UPGrad and DualProj share: the regularisation of G that TorchJD makes before projections on the dual cone."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mtl_jax._core.errors import UserError


def check_epsilons(method: str, norm_eps: float, reg_eps: float) -> None:
  """Raises a `UserError` where one is negative."""
  if norm_eps < 0 or reg_eps < 0:
    raise UserError(f"{method}: norm_eps is {norm_eps} and reg_eps {reg_eps}, expected both at least 0.")


def regularized(gram: Float[Array, "T T"], norm_eps: float, reg_eps: float) -> Float[Array, "T T"]:
  r"""$G / tr(G) + \epsilon I$, without G where its trace is at most `norm_eps`; G itself where both are 0."""
  if not norm_eps and not reg_eps:
    return gram
  trace = jnp.trace(gram)
  unit = jnp.where(trace > norm_eps, gram / jnp.where(trace > 0, trace, 1.0), 0.0)
  return unit + reg_eps * jnp.eye(gram.shape[0], dtype=gram.dtype)
