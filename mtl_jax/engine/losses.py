"""The `losses` engine: no task gradients at all, one backward pass of the weighted losses."""

from __future__ import annotations

from mtl_jax.engine._engine import Engine, weighing


def losses() -> Engine:
  r"""One forward and one backward pass: for methods that weigh tasks by their losses.

  $$ update = \nabla_{shared} \sum_t w_t(l)\, l_t $$

  with the weights held constant.

  Returns:
    The engine.

  >>> sorted(losses().serves)
  ['losses']
  """
  return weighing("losses", frozenset({"losses"}), lambda linearized, balancer: (None, linearized))
