"""The `gram` engine: task gradients reduced to their Gram matrix leaf by leaf, then one weighted backward pass."""

from __future__ import annotations

from mtl_jax.balance._combine import statistics
from mtl_jax.balance._gram import gram as gram_of
from mtl_jax.balance._layers import matching
from mtl_jax.engine._engine import Engine
from mtl_jax.engine._leafwise import leafwise_gram
from mtl_jax.engine._rows import rows


def gram() -> Engine:
  r"""Reduces task gradients to $G$ leaf by leaf: one forward, T + 1 backward passes, memory P + T x largest leaf.

  $$ G = \sum_{leaves} J_{leaf} J_{leaf}^T, \qquad update = \nabla_{shared} \sum_t w_t(G)\, l_t $$

  The T backward passes run as one batch, so that all T gradients of a leaf exist together, are reduced to (T, T) and
  dropped before the next leaf's. One more backward pass than `stacked` buys T x P of memory.

  Returns:
    The engine.

  >>> gram().name
  'gram'
  """

  def run(linearized, balancer, balancer_state, state):
    if len(linearized.pullbacks) == 1:
      matrix = leafwise_gram(linearized.pullbacks[0], balancer.layers)
    else:  # several forward passes: the inner products across them need both sides' rows
      matrix = gram_of(matching(rows(linearized, one_by_one=False), balancer.layers))
    weights, balancer_state = balancer.weigh(statistics(balancer, linearized.losses, matrix), balancer_state)
    return linearized.pull(weights), weights, balancer_state, state

  return Engine("gram", frozenset({"losses", "gram", "cross_gram"}), lambda num_tasks: (), run)
