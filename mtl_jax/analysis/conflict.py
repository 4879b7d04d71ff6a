"""Conflict between tasks: the angles between their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.frozen import Frozen, split_frozen
from mtl_jax._core.gram import gram
from mtl_jax.engine.linearize import linearize
from mtl_jax.engine.rows import rows, takes_turns
from mtl_jax.objective import holding


def gradient_cosines(objective: Any, frozen: Frozen = ()) -> Callable[..., dict[str, jax.Array]]:
  r"""The cosines between the tasks' gradients of the shared parameters.

  $$ \cos_{ij} = g_i \cdot g_j / (|g_i| |g_j|) $$

  Below 0 the two tasks conflict.

  Args:
    objective: From `mtl.objective`, or any function of its signature.
    frozen: As in `mtl.make_train_step`: parameters that do not count.

  Returns:
    A pure function `(params, state, batch, key=None) -> {"<task>,<task>": cosine}` over the pairs of tasks; 0 where a
    gradient vanishes.

  >>> def losses(params, state, batch, key):
  ...   w = params["shared"]
  ...   return {"a": w[0], "b": w[0] + w[1]}, {"state": state}
  >>> cosines = gradient_cosines(losses)({"shared": jnp.ones(2), "task": {}}, {}, None)
  >>> {pair: round(float(value), 4) for pair, value in cosines.items()}
  {'a,b': 0.7071}
  """

  def cosines(params, state, batch, key=None):
    trained, fixed = split_frozen(params, frozen)
    linear = linearize(holding(objective, fixed) if frozen else objective, trained, state, batch, key)
    matrix = devices.total(gram(rows(linear, one_by_one=takes_turns())))
    norms = jnp.sqrt(jnp.diagonal(matrix))
    norms = jnp.where(norms > 0, norms, 1.0)
    matrix = matrix / norms[:, None] / norms[None, :]
    pairs = [(i, j) for i in range(len(linear.names)) for j in range(i + 1, len(linear.names))]
    return {f"{linear.names[i]},{linear.names[j]}": matrix[i, j] for i, j in pairs}

  return cosines
