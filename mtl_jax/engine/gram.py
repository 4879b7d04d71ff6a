"""The `gram` engine: task gradients reduced to their Gram matrix leaf by leaf, then one weighted backward pass."""

from __future__ import annotations

from mtl_jax.balance._gram import gram as gram_of
from mtl_jax.balance._layers import matching
from mtl_jax.engine._engine import Engine, weighing
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

  def matrix(linearized, balancer):
    if len(linearized.pullbacks) == 1:
      return leafwise_gram(linearized.pullbacks[0], balancer.layers)
    # Several forward passes: the inner products across them need both sides' rows.
    return gram_of(matching(rows(linearized, one_by_one=False), balancer.layers))

  return weighing("gram", frozenset({"losses", "gram", "cross_gram"}), matrix)
