"""Multilayer perceptron: a trunk, or with `out` a head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from mtl_jax.shard import constrain


class MLP(nn.Module):
  r"""Dense layers, each followed by an activation and dropout; with `out`, a last linear layer.

  $$ h_0 = flatten(x), \quad h_i = dropout(\phi(W_i h_{i-1} + b_i)), \quad y = W h_n + b $$

  Computes in the dtype of its parameters and input, which must agree.

  Attributes:
    widths: The widths of the hidden layers; may be empty.
    out: The width of the last layer, which has no activation; None: no such layer, the net returns features.
    activation: $\phi$.
    dropout: The share of each hidden layer's units set to zero when training, in [0, 1).
    flatten: Take each example as one vector, (B, ...) -> (B, D); False: act on the last axis, at every position.

  >>> import jax.numpy as jnp, mtl_jax as mtl
  >>> head = mtl.from_linen(MLP((64,), out=10))
  >>> params, state = head.init(jax.random.key(0), jnp.ones((2, 5)))
  >>> head.apply(params, state, jnp.ones((2, 5)))[0].shape
  (2, 10)
  """

  widths: Sequence[int]
  out: int | None = None
  activation: Callable[[jax.Array], jax.Array] = nn.relu
  dropout: float = 0.0
  flatten: bool = True

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Maps the input (B, ...) to (B, widths[-1]), or (B, out)."""
    if self.flatten:
      x = x.reshape(x.shape[0], -1)
    for width in self.widths:
      x = constrain(self.activation(nn.Dense(width)(x)))
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return x if self.out is None else constrain(nn.Dense(self.out)(x))
