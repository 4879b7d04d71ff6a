"""The `stacked` engine: all task gradients kept, combined in place."""

from __future__ import annotations

from mtl_jax._core import devices
from mtl_jax.balance.serving import combine
from mtl_jax.engine._engine import Engine
from mtl_jax.engine._scatter import gathered
from mtl_jax.engine.rows import rows, takes_turns


def stacked(*, one_by_one: bool | None = None) -> Engine:
  r"""Keeps the T task gradients: one forward pass, T backward passes, memory T x P.

  $$ J = \nabla_{shared} l, \qquad G = J J^T, \qquad update = w(G) J $$

  The right engine when T x P floats fit: it saves the last weighted backward pass of `gram`, and it is the only
  one for methods that need the rows themselves. Under data parallelism each device sums up and combines a part of the
  rows, and the result alone is gathered: a ring of n devices sends (T + 1) P, memory is T x P / n.

  Args:
    one_by_one: Take the backward passes in turn instead of as one batch; None: in turn on CPU, where that is 1.2 to
      1.4 times faster, and where the compiler divides the step among devices, which it cannot do for a batch of
      convolutions; else batched.

  Returns:
    The engine.

  >>> stacked().name
  'stacked'
  """

  def run(linearized, balancer, balancer_state, state):
    in_turn = takes_turns() if one_by_one is None else one_by_one
    parts = rows(linearized, one_by_one=in_turn)
    if balancer.combine is not None:  # it may compare anything with anything
      gradients = gathered(parts, linearized.shared, 1)
      update, weights, balancer_state = combine(
        balancer, gradients, linearized.losses, balancer_state, present=linearized.present
      )
      return linearized.with_terms(update), weights, balancer_state, state
    part, weights, balancer_state = combine(
      balancer, parts, linearized.losses, balancer_state, devices.total, linearized.present
    )
    return linearized.with_terms(gathered(part, linearized.shared)), weights, balancer_state, state

  return Engine("stacked", frozenset({"losses", "gram", "cross_gram", "rows"}), lambda num_tasks: (), run)
