"""The `gram` engine: task gradients reduced to their Gram matrix leaf by leaf, then one weighted backward pass."""

from __future__ import annotations

from mtl_jax.engine._engine import Engine, weighing
from mtl_jax.engine.factored import factored_gram


def gram() -> Engine:
  r"""Reduces task gradients to $G$ leaf by leaf: one forward, T + 1 backward passes, memory P + T x largest leaf.

  $$ G = \sum_{leaves} J_{leaf} J_{leaf}^T, \qquad update = \nabla_{shared} \sum_t w_t(G)\, l_t $$

  The T backward passes run side by side, and the T gradients of a leaf are reduced to (T, T) and dropped before the
  next leaf's. On CPU those of a dense kernel are made and reduced for some of its inputs at a time, so there memory is
  that of T times a layer's outputs. One more backward pass than `stacked` buys T x P of memory.

  Returns:
    The engine.

  >>> gram().name
  'gram'
  """

  def gram(linearized, balancer):
    return factored_gram(linearized, balancer.layers, products=False)

  return weighing("gram", frozenset({"losses", "gram", "cross_gram"}), gram)
